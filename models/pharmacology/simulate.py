"""A screen whose truth is known: to test models, and to show the service without anyone's data.

Compounds fall into classes (mechanisms) and cell lines have a few latent traits. Potency and
efficacy follow class x trait; fingerprints carry the class, cell-line features the traits. Pairs
act independently (Bliss), but for

* a weak low-rank interaction everywhere, and
* strong synergy between a few pairs of classes, in the cell lines whose traits allow it,

so that most blocks are near zero and about one in a hundred stands far out, as in real screens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.hill import hill, occupancy
from models.pharmacology.noise import NoiseModel
from models.pharmacology.references import REFERENCES, bliss, loewe
from models.pharmacology.score_rules import score_rule
from models.pharmacology.simulated_structures import (
    compound_classes,
    sample_smiles,
    simulated_fingerprints,
)
from models.pharmacology.zip_fits import fit_zip
from models.screen import (
    ABSENT,
    MAX_COMPOUNDS,
    Candidates,
    CellLineTable,
    CompoundTable,
    FloatArray,
    IntArray,
    Screen,
    Wells,
)

_LOG10 = float(np.log(10.0))
_RANK = 4
_SMOOTHING_SD = 0.01  # weight of noise-free wells against the priors of ZIP's rows
_READER_FLOOR = 0.2  # share of the noise of an untreated well that a dead well keeps


@dataclass(frozen=True)
class Interaction:
    """What makes pairs depart from independence; see :meth:`SimulatedScreen.strength`.

    ``class_strength``: ``(k, k)`` symmetric, zero but for a few class pairs. ``class_context``:
    ``(k, k, r)`` symmetric direction of the traits that allow each. ``carrier``:
    ``(n_compounds,)`` how strongly a compound takes part. ``background``: ``(n_compounds, r)``
    factors of the weak interaction, ``trait_weight``: ``(n_cell_lines, r)`` their weights.
    """

    class_strength: FloatArray
    class_context: FloatArray
    carrier: FloatArray
    background: FloatArray
    trait_weight: FloatArray


@dataclass(frozen=True)
class SimulatedScreen:
    """The whole truth of a simulated screen.

    ``doses_um``: ``(n_compounds, n_doses)`` ascending doses of combination blocks.
    ``compound_class``: ``(n_compounds,)``. ``traits``: ``(n_cell_lines, r)``. ``log_c``,
    ``log_h``, ``emax``: ``(n_compounds, n_cell_lines)`` true Hill parameters. ``noise`` of one
    well. ``smiles``: one per compound, of a scaffold that goes with its class.
    """

    compounds: CompoundTable
    cell_lines: CellLineTable
    smiles: tuple[str, ...]
    compound_class: IntArray
    traits: FloatArray
    doses_um: FloatArray
    log_c: FloatArray
    log_h: FloatArray
    emax: FloatArray
    interaction: Interaction
    noise: NoiseModel

    def strength(self, candidates: Candidates) -> FloatArray:
        """``(m,)`` interaction strength: positive = synergy, 0 = independent action."""
        a, b = candidates.compounds[:, 0], candidates.compounds[:, 1]
        known, line = self.interaction, candidates.cell_line
        classes = (self.compound_class[a], self.compound_class[b])
        allowed = (known.class_context[classes] * self.traits[line]).sum(-1)
        gate = 1.0 / (1.0 + np.exp(-3.0 * (allowed - 0.5)))
        strong = known.class_strength[classes] * known.carrier[a] * known.carrier[b] * gate
        weak = (known.background[a] * known.background[b] * known.trait_weight[line]).sum(-1)
        return np.asarray(strong + weak, dtype=np.float64)

    def viability(self, candidates: Candidates, doses_um: FloatArray) -> FloatArray:
        """``(m, ...)`` true viability of pairs at doses ``(m, ..., 2)`` in candidate order.

        With occupancies ``s1 s2 = m``, synergy multiplies Bliss by ``exp(-strength m)`` and
        antagonism moves it towards the stronger single agent. Both vanish when a dose is zero.
        """
        ones = (1,) * (doses_um.ndim - 2)
        at = (candidates.compounds, candidates.cell_line[:, None])
        shape = (len(candidates), *ones, 2)
        log_c, log_h, emax = (t[at].reshape(shape) for t in (self.log_c, self.log_h, self.emax))
        single = hill(doses_um, log_c, log_h, emax)
        both = occupancy(doses_um, log_c, log_h).prod(axis=-1)
        strength = self.strength(candidates).reshape(-1, *ones)
        independent = bliss(single)
        relief = (single.min(axis=-1) - independent) * -np.expm1(np.minimum(strength, 0.0) * both)
        joint = independent * np.exp(-np.maximum(strength, 0.0) * both) + relief
        return np.asarray(joint, dtype=np.float64)

    def true_score(self, candidates: Candidates, score: str) -> FloatArray:
        """``(m,)`` noise-free score in percentage points over the block's doses.

        ``score``: a key of ``SCORES``. Dose pairs at which Loewe is undefined do not count; NaN
        where none is left.
        """
        rule, doses = score_rule(score), self.block_doses(candidates)
        at = (candidates.compounds[:, None], candidates.cell_line[:, None, None])
        curves = (self.log_c[at], self.log_h[at], self.emax[at])
        observed = self.viability(candidates, doses)
        if rule.reference == "loewe":
            reference = loewe(doses, *curves)
        else:
            reference = REFERENCES[rule.reference](hill(doses, *curves))
        if rule.reference == "zip":
            observed = self._zip_surface(candidates, doses, observed)
        excess = 100.0 * (reference - observed)
        known = np.isfinite(excess)
        if rule.summary == "max":
            largest = np.where(known, excess, -np.inf).max(axis=1)
            return np.where(known.any(axis=1), largest, np.nan)
        total = np.where(known, excess, 0.0).sum(axis=1)
        return np.asarray(total / np.where(known.any(axis=1), known.sum(axis=1), np.nan))

    def _zip_surface(
        self, candidates: Candidates, doses: FloatArray, viability: FloatArray
    ) -> FloatArray:
        """Rows and columns fitted through noise-free wells, ``(m, n_doses ** 2)``."""
        m, wells = viability.shape
        pairs = DosePairs(
            compounds=np.repeat(candidates.compounds, wells, axis=0),
            cell_line=np.repeat(candidates.cell_line, wells),
            doses_um=doses.reshape(-1, 2),
            viability=viability.ravel(),
            n_wells=np.ones(m * wells, np.int64),
            block=np.repeat(np.arange(m), wells),
            first=np.arange(m) * wells,
        )
        known = np.zeros((*self.log_c.shape, 3, 3))
        top = np.log(self.doses_um)
        truth = CurveTable(
            log_c=self.log_c,
            log_h=self.log_h,
            emax=self.emax,
            covariance=known,
            measured=np.ones(self.log_c.shape, bool),
            log_dose_low=top[:, 0],
            log_dose_high=top[:, -1],
            noise=self.noise,
            misfit_sd=0.0,
        )
        fitted = fit_zip(pairs, truth, np.full(m * wells, _SMOOTHING_SD))
        return fitted.viability.reshape(m, wells)

    def block_doses(self, candidates: Candidates) -> FloatArray:
        """``(m, n_doses ** 2, 2)`` the dose pairs of a block, first compound slowest."""
        n = self.doses_um.shape[1]
        first = np.repeat(self.doses_um[candidates.compounds[:, 0]], n, axis=1)
        second = np.tile(self.doses_um[candidates.compounds[:, 1]], (1, n))
        return np.stack([first, second], axis=-1)

    def measure(self, candidates: Candidates, replicates: int, seed: int) -> Wells:
        """Wells of whole blocks, ``len(candidates) * n_doses ** 2 * replicates`` rows."""
        doses = self.block_doses(candidates)
        truth = self.viability(candidates, doses)
        repeats = doses.shape[1] * replicates
        return self._wells(
            np.repeat(candidates.cell_line, repeats),
            np.repeat(candidates.compounds, repeats, axis=0),
            np.repeat(doses.reshape(-1, 2), replicates, axis=0),
            np.repeat(truth.ravel(), replicates),
            seed,
        )

    def single_agents(self, replicates: int, seed: int, n_doses: int = 8) -> Wells:
        """Every compound alone in every cell line at ``n_doses`` doses up to its highest.

        These doses reach ten times lower than those of the blocks and do not share their grid.
        """
        low = np.log(self.doses_um[:, 0]) - _LOG10
        share = np.linspace(0.0, 1.0, n_doses)
        grid = np.exp(low[:, None] + (np.log(self.doses_um[:, -1]) - low)[:, None] * share)
        n_compounds, n_lines = self.log_c.shape
        compound, line, dose = (
            table.ravel()
            for table in np.meshgrid(
                np.arange(n_compounds), np.arange(n_lines), np.arange(n_doses), indexing="ij"
            )
        )
        compound, line, dose = (np.repeat(table, replicates) for table in (compound, line, dose))
        doses = grid[compound, dose]
        at = (compound, line)
        truth = hill(doses, self.log_c[at], self.log_h[at], self.emax[at])
        return self._wells(line, compound[:, None], doses[:, None], truth, seed)

    def controls(self, per_cell_line: int, seed: int) -> Wells:
        """Vehicle wells of every cell line."""
        line = np.repeat(np.arange(len(self.cell_lines)), per_cell_line)
        nothing = np.empty((len(line), 0))
        return self._wells(line, nothing.astype(np.int64), nothing, np.ones(len(line)), seed)

    def screen(self, *wells: Wells) -> Screen:
        """These wells as a model sees them: without the truth."""
        joined = Wells(
            np.concatenate([w.cell_line for w in wells]),
            np.concatenate([w.compounds for w in wells]),
            np.concatenate([w.doses_um for w in wells]),
            np.concatenate([w.viability for w in wells]),
        )
        return Screen(self.compounds, self.cell_lines, joined)

    def _wells(
        self, line: IntArray, compounds: IntArray, doses: FloatArray, truth: FloatArray, seed: int
    ) -> Wells:
        """Wells of these treatments with noise; the columns are padded to three compounds."""
        n, k = compounds.shape
        slots = np.full((n, MAX_COMPOUNDS), ABSENT, np.int64)
        dose_slots = np.zeros((n, MAX_COMPOUNDS))
        slots[:, :k], dose_slots[:, :k] = compounds, doses
        error = np.random.default_rng([seed, n, k]).standard_normal(n)
        return Wells(line.astype(np.int64), slots, dose_slots, truth + self.noise.sd(truth) * error)


def simulate_screen(
    n_compounds: int,
    n_cell_lines: int,
    n_doses: int,
    noise_sd: float,
    seed: int,
    *,
    n_classes: int = 8,
    n_bits: int = 512,
    n_features: int = 24,
    share_without_structure: float = 0.0,
) -> SimulatedScreen:
    """A screen of ``n_compounds`` x ``n_cell_lines`` whose blocks hold ``n_doses ** 2`` wells.

    ``noise_sd``: standard deviation of an untreated well (fraction of viability); wells with
    little viability have less, down to a fifth. The same arguments give the same screen.
    """
    rng = np.random.default_rng([seed, n_compounds, n_cell_lines])
    classes = compound_classes(n_compounds, n_classes, seed)
    factors = rng.standard_normal((n_classes, _RANK))[classes]
    factors = 0.85 * factors + 0.5 * rng.standard_normal((n_compounds, _RANK))
    traits = rng.standard_normal((n_cell_lines, _RANK))
    doses = _block_doses(rng, n_compounds, n_doses)
    log_c, log_h, emax = _single_agents(rng, doses, factors, traits)
    without = rng.random(n_compounds) < share_without_structure
    bits = simulated_fingerprints(classes, n_bits, seed)
    bits[without] = 0
    loadings = rng.standard_normal((_RANK, n_features)) / np.sqrt(_RANK)
    features = traits @ loadings + 0.3 * rng.standard_normal((n_cell_lines, n_features))
    return SimulatedScreen(
        compounds=CompoundTable(_names("SIM", n_compounds), bits, ~without),
        cell_lines=CellLineTable(
            _names("CELL", n_cell_lines), features, np.ones(n_cell_lines, bool)
        ),
        smiles=sample_smiles(n_compounds, seed, n_classes=n_classes),
        compound_class=classes,
        traits=traits,
        doses_um=doses,
        log_c=log_c,
        log_h=log_h,
        emax=emax,
        interaction=_interaction(rng, classes, n_classes, traits),
        noise=NoiseModel(
            _READER_FLOOR * noise_sd, float(np.sqrt(1 - _READER_FLOOR**2)) * noise_sd, "simulated"
        ),
    )


def _names(prefix: str, n: int) -> tuple[str, ...]:
    width = max(3, len(str(n)))
    return tuple(f"{prefix}-{k + 1:0{width}d}" for k in range(n))


def _block_doses(rng: np.random.Generator, n_compounds: int, n_doses: int) -> FloatArray:
    """Ascending doses: the highest differs by compound from 10 nM to 100 uM, 1.5 decades down."""
    top = _LOG10 * rng.uniform(-2.0, 2.0, n_compounds)
    share = np.linspace(-1.5, 0.0, n_doses) if n_doses > 1 else np.array([-0.5])
    return np.exp(top[:, None] + _LOG10 * share)


def _single_agents(
    rng: np.random.Generator, doses: FloatArray, factors: FloatArray, traits: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """True ``log C``, ``log h`` and ``Emax``, ``(n_compounds, n_cell_lines)``."""
    shape = (len(factors), len(traits))
    sensitivity = factors @ traits.T / np.sqrt(_RANK)
    own = np.log(doses[:, -1]) - _LOG10 * rng.uniform(0.0, 1.2, shape[0])
    log_c = own[:, None] + 0.7 * sensitivity + 0.25 * rng.standard_normal(shape)
    log_h = rng.normal(0.3, 0.25, shape[0])[:, None] + 0.1 * rng.standard_normal(shape)
    level = rng.normal(-0.2, 1.2, shape[0])[:, None] + 0.6 * sensitivity
    level = level + 0.3 * rng.standard_normal(shape)
    return log_c, log_h, 0.02 + 0.96 / (1.0 + np.exp(-level))


def _interaction(
    rng: np.random.Generator, classes: NDArray[np.int64], n_classes: int, traits: FloatArray
) -> Interaction:
    """A few strong class pairs with their contexts, and a weak background everywhere."""
    one, two = np.triu_indices(n_classes)
    n_strong = max(1, round(0.08 * len(one)))
    chosen = rng.choice(len(one), n_strong, replace=False)
    strength = np.zeros((n_classes, n_classes))
    strength[one[chosen], two[chosen]] = np.sort(rng.lognormal(1.3, 0.5, n_strong))
    context = rng.standard_normal((n_classes, n_classes, _RANK)) / np.sqrt(_RANK)
    lower = np.tril_indices(n_classes, -1)
    strength[lower], context[lower] = strength.T[lower], context.transpose(1, 0, 2)[lower]
    return Interaction(
        class_strength=strength,
        class_context=context,
        carrier=rng.lognormal(0.0, 0.4, len(classes)),
        background=0.5 * rng.standard_normal((len(classes), _RANK)),
        trait_weight=0.5 * traits + 0.2,
    )
