"""The rule itself: every registered model of pairs treats both compounds alike, to 1e-6.

:class:`Candidates` keeps the compounds of a pair in ascending order, which would make every model
symmetric by bookkeeping. Here that guard is lifted, so that the models have to be so themselves.
Fits are those of the tests that fit every model anyway, done once in a session.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from models.bayes.ensembles import log_density
from models.dynamics.systems.growth_death import GrowthDeath, GrowthDeathScale
from models.perturbation.data import ResponseTable
from models.perturbation.registry import DEFAULT, response_models
from models.pharmacology import references, surfaces
from models.pharmacology.dose_response import fit_curves
from models.pharmacology.noise import NoiseModel
from models.screen import Candidates
from models.surfaces.blocks import Blocks, gather_blocks
from models.surfaces.fitting import Plan
from models.surfaces.judging import MODELS as SURFACE_MODELS
from models.surfaces.judging import Request, fit_models
from models.surfaces.prediction import SurfacePredictor
from models.surfaces.symmetry import (
    Batch,
    Element,
    Group,
    check_equivariance,
    check_invariance,
    drug_permutations,
    grid_permutations,
    replicate_permutations,
)
from models.synergy.evidence import KnowsErrors
from models.synergy.registry import MODELS
from models.synergy.response.treatments import ResponsePosterior
from tests.models.dynamics.systems.test_growth_death import swapped, values_of
from tests.models.perturbation.responses import screen
from tests.models.synergy.test_every_model import candidates, fitted, training

# ------------------------------------------------------------------- scores of pairs


def _swapped(at: Candidates) -> Candidates:
    return Candidates(at.compounds[:, ::-1].copy(), at.cell_line)


def _itself(at: Candidates) -> Candidates:
    return at


SWAP = Group(
    "the swap of two drugs",
    (Element("identity", _itself, _itself), Element("swap", _swapped, _swapped)),
)


@pytest.fixture
def unordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs may stand in any order."""
    monkeypatch.setattr(Candidates, "__post_init__", lambda self: None)


@pytest.mark.usefixtures("unordered")
@pytest.mark.parametrize("name", MODELS)
def test_scores_and_noise_of_a_model_do_not_know_which_compound_is_first(name: str) -> None:
    posterior, rng = fitted(name), np.random.default_rng(2)
    at = candidates().select(rng.permutation(len(candidates())))
    said: dict[str, Callable[[Candidates], Tensor | np.ndarray]] = {
        "draws": lambda pairs: posterior.draws(pairs, 6, 3),
        "noise scale": posterior.noise_scale,
        "noise sd": posterior.noise_sd,
    }
    if isinstance(posterior, KnowsErrors):
        known, rule = rng.uniform(0.5, 3.0, len(at)), posterior.noise_scale_given
        said["noise of known errors"] = lambda pairs: rule(pairs, known)
    for what, function in said.items():
        check_invariance(function, at, SWAP, what=f"{what} of {name}")


# ------------------------------------------------------------- responses to two and three


@cache
def treatments(k: int, n: int = 12) -> Batch:
    """Random sets of ``k`` compounds at doses at which each was measured."""
    rng, wells = np.random.default_rng(k), training().wells
    assert wells is not None
    compounds = np.stack([rng.permutation(9)[:k] for _ in range(n)])
    known = [np.unique(wells.doses_um[wells.compounds == c]) for c in range(9)]
    doses = np.array([[rng.choice(known[c]) for c in row] for row in compounds])
    return {
        "compounds": torch.from_numpy(compounds),
        "doses": torch.from_numpy(doses),
        "line": torch.from_numpy(rng.integers(0, 3, n)),
    }


@pytest.mark.parametrize("k", [2, 3])
def test_responses_of_a_model_depend_on_the_set_of_compounds(k: int) -> None:
    group = drug_permutations(k, columns={"compounds": 1, "doses": 1})
    checked = set()
    for name in MODELS:
        posterior = fitted(name)
        if not isinstance(posterior, ResponsePosterior):
            continue

        def responses(batch: Batch, posterior: ResponsePosterior = posterior) -> Tensor:
            columns = (batch[key].numpy() for key in ("compounds", "doses", "line"))
            return posterior.viability_draws(*columns, 5, 1)

        check_invariance(responses, treatments(k), group, what=f"responses of {name}")
        checked.add(name)
    assert checked >= {"hierarchical_bliss", "logit_tensor"}


# --------------------------------------------------------- responses of many readouts


NAMES = list(response_models())


@cache
def responses_of(name: str, order: tuple[int, ...]) -> np.ndarray:
    """Mean responses to random pairs and triples, learned with the compounds in this order."""
    table, _ = screen(p=6, g=6, noise=0.1, interaction=0.2)
    columns = list(order)
    moved = ResponseTable.of(
        perturbations=[table.perturbations[i] for i in columns],
        readouts=table.readouts,
        conditions=table.conditions,
        doses=table.doses[:, columns],
        values=table.values,
    )
    rng = np.random.default_rng(0)
    at = np.array([rng.permutation(6) < 2 + row % 2 for row in range(8)])
    at = at * rng.uniform(0.5, 1.5, at.shape)
    return response_models()[name].fit(moved, seed=0).mean(at[:, columns])


@pytest.mark.parametrize("name", [name for name in NAMES if name != DEFAULT])
def test_responses_do_not_depend_on_the_order_of_the_compounds(name: str) -> None:
    """Relabelled and learned again. The stack deals its folds by columns, so that another order
    is another deal of folds to it; all its members are here."""
    identity, other = tuple(range(6)), (3, 1, 0, 5, 4, 2)
    found = responses_of(name, other)
    np.testing.assert_allclose(found, responses_of(name, identity), atol=1e-6)


def test_growth_and_death_treat_both_drugs_alike() -> None:
    times = torch.linspace(0.0, 60.0, 5, dtype=torch.float64)
    doses = torch.from_numpy(np.random.default_rng(0).uniform(0, 6, (2, 1, 3)))

    def curves(system: GrowthDeath, values: dict[str, Tensor], given: Tensor) -> Tensor:
        context = system.prepare(values, given)
        return system.observe(system.exact(times, context), context).mean

    one, other = (
        GrowthDeath(GrowthDeathScale(usual, 9.0, (1.0, 1.5), 72.0))
        for usual in ((4.0, 0.5), (0.5, 4.0))
    )
    first = curves(one, values_of(one), doses)
    second = curves(other, swapped(values_of(one)), doses.flip(0))
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------- whole surfaces

TURN = Group(
    "the swap of two drugs",
    (
        Element("identity", lambda blocks: blocks, lambda blocks: blocks),
        Element("swap", Blocks.swapped, Blocks.swapped),
    ),
)


@cache
def surface_screen() -> tuple[tuple[Blocks, ...], dict[str, SurfacePredictor]]:
    """Blocks of a small screen with some wells hidden, and every surface model, hardly trained."""
    data = training()
    assert data.wells is not None
    curves = fit_curves(data.wells, 9, 3)
    tables = gather_blocks(data.wells, curves)
    plan = Plan(members=2, betas=(0.15,), steps=4, width=8)
    request = Request(plan, seed=0)
    return tables, fit_models(tables, curves, data.features.cell_lines, request)


@pytest.mark.parametrize("name", SURFACE_MODELS)
def test_surfaces_turn_with_their_compounds(name: str) -> None:
    tables, models = surface_screen()
    blocks = tables[0]
    keep = np.random.default_rng(0).random(blocks.viability.shape) < 0.4
    for asked in (blocks, blocks.seen_only(keep)):
        for what in ("draws", "scale"):

            def said(at: Blocks, what: str = what) -> Tensor:
                return torch.from_numpy(np.asarray(getattr(models[name].predict(at), what)))

            check_equivariance(said, asked, TURN, grid_permutations(2), what=f"{what} of {name}")


# ------------------------------------------------------------------- pharmacology

CURVES = ("dose", "log_c", "log_h", "emax")


@cache
def curves_of(k: int, n: int = 40) -> Batch:
    """Random curves and doses of ``k`` compounds, in float32; every tenth dose is 0."""
    rng = np.random.default_rng(10 + k)
    dose = rng.lognormal(0.0, 1.5, (n, k)) * (rng.random((n, k)) > 0.1)
    batch = {
        "dose": dose,
        "log_c": rng.normal(0.0, 1.0, (n, k)),
        "log_h": rng.normal(0.3, 0.3, (n, k)),
        "emax": rng.uniform(0.1, 0.6, (n, k)),
        "viability": rng.uniform(0.65, 0.95, (n, k)),
        "other": rng.normal(0.0, 0.5, (n, k)),
        "more": rng.normal(0.0, 0.2, (n, k)),
        "matrix": rng.uniform(-0.3, 0.5, (n, k, k)),
        "effect": rng.uniform(0.65, 0.95, n),
    }
    return {name: torch.from_numpy(values).float() for name, values in batch.items()}


def columns(batch: Batch, *names: str) -> list[np.ndarray]:
    return [batch[name].numpy().astype(np.float64) for name in names]


def _loewe(batch: Batch) -> np.ndarray:
    found = references.loewe(*columns(batch, *CURVES))
    return np.nan_to_num(found, nan=-1.0)


def _index(batch: Batch) -> np.ndarray:
    found = references.combination_index(*columns(batch, *CURVES, "effect"))
    return np.nan_to_num(found, nan=-1.0)


def _braid(batch: Batch) -> np.ndarray:
    dose, log_c, log_h, emax = columns(batch, *CURVES)
    return surfaces.braid(dose, log_c, log_h, emax, emax.min(-1) * 0.9, 0.7)


def _musyc(batch: Batch) -> np.ndarray:
    dose, log_c, log_h, emax = columns(batch, *CURVES)
    alpha, gamma = columns(batch, "other", "more")
    return surfaces.musyc(dose, log_c, log_h, emax, 0.05, alpha, gamma)


def _effective_dose(batch: Batch) -> np.ndarray:
    return surfaces.effective_dose(*columns(batch, *CURVES, "matrix"))


ANY_NUMBER: dict[str, Callable[[Batch], np.ndarray]] = {
    **{
        name: lambda batch, rule=rule: rule(*columns(batch, "viability"))
        for name, rule in references.REFERENCES.items()
        if name != "loewe"
    },
    "loewe": _loewe,
    "combination index": _index,
    "effective dose": _effective_dose,
}
PAIRS_ONLY = {"braid": _braid, "musyc": _musyc}
CASES = [(name, k) for name in ANY_NUMBER for k in (2, 3)] + [(name, 2) for name in PAIRS_ONLY]


@pytest.mark.parametrize(("name", "k"), CASES)
def test_references_depend_on_the_set_of_compounds(name: str, k: int) -> None:
    rule = {**ANY_NUMBER, **PAIRS_ONLY}[name]
    belongs = dict.fromkeys([*CURVES, "viability", "other", "more"], 1)
    group = drug_permutations(k, columns={**belongs, "matrix": (1, 2)})
    check_invariance(rule, curves_of(k), group, what=name)


def test_musyc_of_three_depends_on_the_set() -> None:
    """States are sets of bound compounds, so they move with them."""
    rng, batch = np.random.default_rng(1), curves_of(3)
    dose, log_c, log_h, _ = columns(batch, *CURVES)
    effect = rng.uniform(0.1, 1.0, (40, 8))
    alpha, gamma = rng.normal(0, 0.4, (2, 40, 8, 3))
    alpha[:, 0], gamma[:, 0] = 0.0, 0.0
    whole = surfaces.musyc_many(dose, log_c, log_h, effect, alpha, gamma)
    for order in itertools.permutations(range(3)):
        at = list(order)
        state = [sum(1 << at[i] for i in range(3) if s >> i & 1) for s in range(8)]
        moved = surfaces.musyc_many(
            dose[:, at],
            log_c[:, at],
            log_h[:, at],
            effect[:, state],
            alpha[:, state][:, :, at],
            gamma[:, state][:, :, at],
        )
        np.testing.assert_allclose(moved, whole, atol=1e-6)


def test_likelihoods_depend_on_the_set_of_compounds_and_of_replicates() -> None:
    """Student-t density of replicate wells around Bliss, with noise that grows with the level."""
    rng = np.random.default_rng(0)
    batch = {
        "margins": torch.tensor(rng.uniform(0.2, 1.0, (6, 2, 4)), dtype=torch.float32),
        "wells": torch.tensor(rng.uniform(0.2, 1.0, (6, 3, 4, 4)), dtype=torch.float32),
    }

    def likelihood(batch: Batch) -> Tensor:
        bliss = batch["margins"][:, 0, :, None] * batch["margins"][:, 1, None, :]
        sd = NoiseModel(0.02, 0.05, "assumed").sd(bliss.numpy())
        scale = torch.from_numpy(np.asarray(sd, np.float32))
        return log_density(batch["wells"] - bliss[:, None], scale[:, None], 5.0).sum((1, 2, 3))

    swap = drug_permutations(2, columns={"margins": 1}, grids={"wells": (2, 3)})
    check_invariance(likelihood, batch, swap * replicate_permutations(3, {"wells": 1}))
