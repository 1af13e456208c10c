"""Learning from responses: the stack beside every baseline, the network, why pairs interact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from models.chemistry.names import fold_name
from models.perturbation.baselines import judged_rows
from models.perturbation.choice import BASELINES
from models.perturbation.control_samples import of_counts, of_log_ratios
from models.perturbation.data import ResponseTable
from models.perturbation.evaluate import HeldOutResponses, compare, hold_out, interaction_draws
from models.perturbation.evaluate import skill as skill_of
from models.perturbation.explain import FDR, explain_pair
from models.perturbation.health import describe_response_health
from models.perturbation.interventions import MIN_CONTROLS, from_expression
from models.perturbation.learnable import learnable
from models.perturbation.network import EdgePosterior, learn_network
from models.perturbation.protocol import ResponseModel, ResponsePosterior
from models.perturbation.registry import DEFAULT, response_models
from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.evaluation import measured_effects
from models.perturbation.vae.response_model import NAME as VAE
from models.perturbation.vae.response_model import VaeResponses
from models.screen import BoolArray, FloatArray, ProgressCallback, ScreenError, StopCallback
from service.datasets.learning.learned import Learned, ModuleFeatures
from service.datasets.reading.found import Found

FOLDS = 6
FACTORS = 8
"""Directions of the compounds' responses that the models of synergy see."""
DRAWS = 400
MOST_PAIRS = 2_000
FEWEST_INTERVENTIONS = 8
MOST_GENES = 300
"""A network is sampled gene by gene: beyond this it takes hours."""
_MOST_VALUES = 20_000_000
_TOP = 10
_VAE_CONDITIONS, _VAE_READOUTS = 300, 300
_ACCIDENT = 0.05
Targets = Mapping[str, tuple[str, ...]]


def learn_responses(
    found: Found,
    targets: Targets,
    *,
    seed: int,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> Learned:
    """``targets``: genes of each perturbation where they are known. Raises :class:`ScreenError`
    for data that nothing can be learned from, in words."""
    ratios = as_log_ratios(found, seed)
    notes, rows = ratios.notes, learnable(ratios.table)
    models = _models(rows)
    judged = _judge(models, rows, seed, on_progress, should_stop)
    chosen = promoted(judged)
    posterior = models[chosen].fit(
        rows, seed=seed, on_progress=on_progress, should_stop=should_stop
    )
    skill = skill_of(judged[chosen], {name: judged[name] for name in BASELINES}, seed=seed)
    pairs = _pairs(rows)
    doses = _at_pairs(rows, pairs)
    interaction = _interactions(posterior, doses, seed)
    measured = _put_measured(rows, posterior, doses, interaction)
    network, why_not = _network(rows, ratios.controls, targets, seed, on_progress, should_stop)
    tensors, metadata = posterior.save()
    health = describe_response_health(
        models[chosen], posterior, rows, seed, on_progress=on_progress, should_stop=should_stop
    )
    report = {
        "judged": _judged_words(rows),
        "models": {name: each.scores() for name, each in judged.items()},
        "against_baselines": {
            name: compare(judged[name].squared_error, judged[chosen].squared_error)
            for name in BASELINES
        },
        "skill": asdict(skill),
        "notes": notes,
        "health": health,
        "network": why_not if network is None else network.sentence(FDR),
    }
    results = {
        "held_out": _held_out(rows, judged[chosen]),
        "pairs": _pair_rows(rows, pairs, doses, interaction, measured),
        "network": None if network is None else network.as_dict(FDR),
        "explanations": _explanations(rows, targets, pairs, network),
    }
    return Learned(
        chosen, skill.value, report, results, _features(rows, posterior, pairs, interaction[0]),
        tensors, metadata,
    )  # fmt: skip


class LogRatios(NamedTuple):
    """Effects against the controls, complete; what was left out for that, in words; ``(c, g)``
    untreated samples as noisy as a condition."""

    table: ResponseTable
    notes: list[str]
    controls: FloatArray


def as_log_ratios(found: Found, seed: int) -> LogRatios:
    """``seed``: deals the controls into samples. Raises :class:`ScreenError` where every readout
    misses a condition."""
    table, notes = found.table, []
    if table.kind == "counts":
        cells = CellTable.of(
            perturbations=table.perturbations, doses=table.doses, readouts=table.readouts,
            values=table.values, observation="counts", library=found.library,
            low_quality=table.low_quality,
        )  # fmt: skip
        table, controls = measured_effects(cells).responses(), of_counts(cells, seed)
        notes.append("counts became natural logarithms of ratios to the pooled control cells")
    else:
        controls = of_log_ratios(table, seed)
    good = table.select(~table.low_quality).averaged()
    complete = np.asarray(~np.isnan(good.values).any(axis=0), np.bool_)
    if not complete.any():
        raise ScreenError("every readout misses a condition: fill some of them completely")
    if not complete.all():
        lost = [name for name, whole in zip(table.readouts, complete, strict=True) if not whole]
        some = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        notes.append(f"left out {len(lost)} readouts that miss conditions: {some}")
        table, controls = _keep_readouts(table, complete), controls[:, complete]
    whole = ~np.isnan(controls).any(axis=1)
    return LogRatios(table, notes, controls[whole])


def _keep_readouts(table: ResponseTable, keep: BoolArray) -> ResponseTable:
    return ResponseTable.of(
        perturbations=table.perturbations,
        readouts=[name for name, kept in zip(table.readouts, keep, strict=True) if kept],
        conditions=table.conditions,
        doses=table.doses,
        values=table.values[:, keep],
        kind=table.kind,
        batch=table.batch,
        low_quality=table.low_quality,
    )


def _models(rows: ResponseTable) -> dict[str, ResponseModel]:
    """All that are compared; the network of a VAE only where its fit takes seconds."""
    models = response_models()
    if len(rows) <= _VAE_CONDITIONS and len(rows.readouts) <= _VAE_READOUTS:
        models[VAE] = VaeResponses()
    return models


def promoted(judged: Mapping[str, HeldOutResponses]) -> str:
    """The stack, unless the VAE is better in squared error and in log density, and the former is
    no accident (paired t test over conditions)."""
    if VAE not in judged:
        return DEFAULT
    ours, theirs = judged[DEFAULT], judged[VAE]
    difference = compare(ours.squared_error, theirs.squared_error)
    wins = difference["mean"] > 0 and difference["t"] < _ACCIDENT
    return VAE if wins and theirs.elpd.mean() > ours.elpd.mean() else DEFAULT


def _judge(
    models: Mapping[str, ResponseModel],
    rows: ResponseTable,
    seed: int,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> dict[str, HeldOutResponses]:
    """Every model on the same held-out conditions; the stack chooses inside each fold."""
    dealt = np.random.default_rng([seed, 17]).permutation(judged_rows(rows))
    folds = [part for part in np.array_split(dealt, FOLDS) if len(part)]
    return {
        name: hold_out(
            model, rows, folds, seed=seed, on_progress=on_progress, should_stop=should_stop
        )
        for name, model in models.items()
    }


def _judged_words(rows: ResponseTable) -> str:
    at = judged_rows(rows)
    several = bool((rows.n_present[at] > 1).all())
    what = "conditions of several perturbations" if several else "conditions of one perturbation"
    return f"{len(at)} {what}, each held out of the fit that predicts it ({FOLDS} folds)"


def _pairs(rows: ResponseTable) -> list[tuple[int, int]]:
    """Pairs of perturbations: measured ones first, then all others, at most so many."""
    measured = [tuple(np.flatnonzero(d > 0).tolist()) for d in rows.doses]
    p = len(rows.perturbations)
    every = [(i, j) for i in range(p) for j in range(i + 1, p)]
    first = sorted({pair for pair in measured if len(pair) == 2})
    rest = [pair for pair in every if pair not in set(first)]
    return [(i, j) for i, j in (*first, *rest)][:MOST_PAIRS]


def reference_doses(rows: ResponseTable) -> FloatArray:
    """``(p,)`` the largest measured dose of each perturbation."""
    return np.asarray(rows.doses.max(axis=0))


def _at_pairs(rows: ResponseTable, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    doses, top = np.zeros((len(pairs), len(rows.perturbations))), reference_doses(rows)
    for row, pair in enumerate(pairs):
        doses[row, list(pair)] = top[list(pair)]
    return doses


def _interactions(
    posterior: ResponsePosterior, doses: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """``(pairs, g)`` mean and standard deviation of each interaction."""
    g = len(posterior.readouts)
    at_once = max(1, _MOST_VALUES // (3 * DRAWS * g))
    mean, sd = np.zeros((len(doses), g)), np.zeros((len(doses), g))
    for start in range(0, len(doses), at_once):
        part = slice(start, start + at_once)
        draws = interaction_draws(posterior, doses[part], DRAWS, seed)
        mean[part], sd[part] = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    return mean, sd


def _put_measured(
    rows: ResponseTable,
    posterior: ResponsePosterior,
    doses: FloatArray,
    interaction: tuple[FloatArray, FloatArray],
) -> BoolArray:
    """``(pairs,)`` which pairs were measured with both of their parts at these doses: what was
    measured then takes the place of what is predicted, with the noise of three measurements."""
    known = {tuple(row): at for at, row in enumerate(rows.doses.tolist())}
    found = np.zeros(len(doses), bool)
    for row, pair in enumerate(doses):
        parts = [np.where(np.arange(len(pair)) == at, pair, 0.0) for at in np.flatnonzero(pair)]
        places = [known.get(tuple(one.tolist())) for one in (pair, *parts)]
        if None not in places:
            whole, first, second = (rows.values[at] for at in places)
            interaction[0][row] = whole - first - second
            interaction[1][row] = math.sqrt(3.0) * posterior.noise_scale
            found[row] = True
    return found


def _features(
    rows: ResponseTable,
    posterior: ResponsePosterior,
    pairs: Sequence[tuple[int, int]],
    interaction: FloatArray,
) -> ModuleFeatures:
    """Main directions of what each compound does, and of what each pair does beyond the sum."""
    alone = posterior.mean(np.diag(reference_doses(rows)))
    single, joint = directions(alone, FACTORS), directions(interaction, 2)
    strength = np.sqrt(np.square(interaction).mean(axis=1))
    return ModuleFeatures(
        rows.perturbations,
        tuple(f"response {k + 1}" for k in range(single.shape[1])),
        tuple(map(tuple, single.tolist())),
        (*(f"interaction {k + 1}" for k in range(joint.shape[1])), "strength of the interaction"),
        tuple(
            (i, j, (*row, float(size)))
            for (i, j), row, size in zip(pairs, joint.tolist(), strength, strict=True)
        ),
    )


def directions(table: FloatArray, most: int) -> FloatArray:
    """``(n, k)`` coordinates of the rows of ``(n, g)`` in their main directions, about 0; the
    largest coordinate of each is positive, so that equal tables give equal signs."""
    if not len(table) or not np.any(table):
        return np.zeros((len(table), 0))
    left, size, _ = np.linalg.svd(table, full_matrices=False)
    keep = min(most, int((size > 1e-8 * size[0]).sum()))
    found = left[:, :keep] * size[:keep]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], 0)[0]
    return np.asarray(found * np.sign(largest))


def _held_out(rows: ResponseTable, judged: HeldOutResponses) -> dict[str, Any]:
    """Observed and predicted, to plot; both ``conditions x readouts``."""
    return {
        "conditions": [rows.conditions[row] for row in judged.rows],
        "readouts": rows.readouts,
        "observed": judged.observed.tolist(),
        "predicted": judged.mean.tolist(),
    }


def _pair_rows(
    rows: ResponseTable,
    pairs: Sequence[tuple[int, int]],
    doses: FloatArray,
    interaction: tuple[FloatArray, FloatArray],
    measured: BoolArray,
) -> list[dict[str, Any]]:
    """Each pair at the largest measured doses: the readouts that it changes beyond the sum."""
    mean, sd = interaction
    found = []
    for row, (i, j) in enumerate(pairs):
        z = np.abs(mean[row]) / np.maximum(sd[row], 1e-12)
        top = np.argsort(-z, kind="stable")[:_TOP]
        found.append(
            {
                "perturbations": [rows.perturbations[i], rows.perturbations[j]],
                "doses": [float(doses[row, i]), float(doses[row, j])],
                "measured": bool(measured[row]),
                "strength": float(np.sqrt(np.square(mean[row]).mean())),
                "n_readouts": len(rows.readouts),
                "readouts": [
                    {
                        "name": rows.readouts[at],
                        "interaction": float(mean[row, at]),
                        "sd": float(sd[row, at]),
                    }
                    for at in top
                ],
            }
        )
    return found


def _network(
    rows: ResponseTable,
    controls: FloatArray,
    targets: Targets,
    seed: int,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> tuple[EdgePosterior | None, str]:
    """The network of the readouts, or why there is none."""
    place = {fold_name(name): at for at, name in enumerate(rows.readouts)}
    aimed = np.zeros((len(rows.perturbations), len(rows.readouts)), bool)
    for row, name in enumerate(rows.perturbations):
        for gene in (name, *targets.get(name, ())):
            if fold_name(gene) in place:
                aimed[row, place[fold_name(gene)]] = True
    treated = rows.select(~rows.is_control)
    targeted = (treated.doses > 0) @ aimed
    known = targeted.any(axis=1)
    genes = int(aimed.any(axis=0).sum())
    if int(known.sum()) < FEWEST_INTERVENTIONS or genes < 3:
        return None, (
            f"no network: {int(known.sum())} conditions act on {genes} genes that were read, "
            f"{FEWEST_INTERVENTIONS} and 3 are needed. Name the targets of the compounds (PATCH "
            "/v1/compounds/{id}) as the readouts are called."
        )
    if len(rows.readouts) > MOST_GENES:
        return None, (
            f"no network: {len(rows.readouts)} readouts, at most {MOST_GENES} can be sampled. Send "
            "a table of the genes that matter."
        )
    if len(controls) < MIN_CONTROLS:
        return None, (
            f"no network: the controls make {len(controls)} samples as large as a condition, "
            f"{MIN_CONTROLS} are needed to tell noise. Send more untreated samples, one a row."
        )
    try:
        table = from_expression(
            rows.readouts, controls, treated.values[known], targeted[known].astype(bool)
        )
        network = learn_network(table, seed=seed, on_progress=on_progress, should_stop=should_stop)
    except ScreenError as error:
        return None, f"no network: {error}"
    return network, ""


def _explanations(
    rows: ResponseTable,
    targets: Targets,
    pairs: Sequence[tuple[int, int]],
    network: EdgePosterior | None,
) -> list[dict[str, Any]]:
    """Why each pair may interact, where the network supports a path."""
    if network is None:
        return []
    genes = {fold_name(gene): gene for gene in network.genes}
    acts = {
        name: tuple(
            dict.fromkeys(
                genes[fold_name(gene)]
                for gene in (name, *targets.get(name, ()))
                if fold_name(gene) in genes
            )
        )
        for name in rows.perturbations
    }
    found = []
    for i, j in pairs:
        names = (rows.perturbations[i], rows.perturbations[j])
        aims = (acts[names[0]], acts[names[1]])
        if all(aims):
            found.append(explain_pair(network, names, aims).as_dict())
    return found
