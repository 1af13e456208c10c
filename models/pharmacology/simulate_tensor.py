"""Scattered wells of a compounds x cell lines x doses tensor whose truth is known.

This is the setting in which tensor models of combination screens are usually tried: every single
agent once at every dose, and pairs at random, one well each. Single agents are Hill curves with a
low-rank log potency; a pair has the Bliss product times ``exp(-strength)``, where the strength is

    low rank over compounds and cell lines  +  a constant for a few synergistic pairs,

the same at every positive dose (``gated``: times both occupancies, growing with the doses).
Wells have one noise and are cut at zero, as plate readers report them after background
subtraction: the mean squared error of the truth itself is a little below ``noise_sd ** 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pharmacology.hill import hill, occupancy
from models.screen import ABSENT, MAX_COMPOUNDS, FloatArray, IntArray, Wells

_RANK = 3
_SHARE_OF_SYNERGY = 0.03
_DOSES_PER_DECADE = 1.0


@dataclass(frozen=True)
class SimulatedTensor:
    """The truth: ``log_c``, ``log_h``, ``emax`` ``(n_compounds, n_cell_lines)``; ``doses_um``
    ``(n_compounds, n_doses)``; ``strength`` ``(n_compounds, n_compounds, n_cell_lines)``,
    symmetric, positive for synergy; ``noise_sd`` of one well."""

    log_c: FloatArray
    log_h: FloatArray
    emax: FloatArray
    doses_um: FloatArray
    strength: FloatArray
    noise_sd: float
    gated: bool

    def viability(self, compounds: IntArray, doses_um: FloatArray, line: IntArray) -> FloatArray:
        """``(m,)`` true viability of ``(m, 3)`` treatments padded with ``ABSENT`` and dose 0."""
        at = (np.maximum(compounds, 0), line[:, None])
        curve = (self.log_c[at], self.log_h[at])
        effect = hill(doses_um, *curve, self.emax[at]).prod(axis=1)
        gate = occupancy(doses_um, *curve) if self.gated else (doses_um > 0).astype(np.float64)
        total = np.zeros(len(line))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            strength = self.strength[at[0][:, i], at[0][:, j], line]
            total += strength * gate[:, i] * gate[:, j]
        return np.asarray(effect * np.exp(-total), dtype=np.float64)

    def measure(
        self, compounds: IntArray, doses_um: FloatArray, line: IntArray, seed: int
    ) -> Wells:
        """These treatments, one well each, with noise."""
        truth = self.viability(compounds, doses_um, line)
        error = np.random.default_rng([seed, len(line)]).standard_normal(len(line))
        return Wells(line, compounds, doses_um, np.maximum(truth + self.noise_sd * error, 0.0))

    def singles(self, seed: int) -> Wells:
        """Every compound alone, in every cell line, once at every dose."""
        n_compounds, n_lines = self.log_c.shape
        axes = (np.arange(n_compounds), np.arange(n_lines), np.arange(self.doses_um.shape[1]))
        compound, line, rank = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        return self._measured(compound[:, None], rank[:, None], line, seed)

    def random_pairs(self, n: int, seed: int) -> Wells:
        """``n`` wells: compounds, doses and cell line uniform, repeats allowed."""
        rng = np.random.default_rng([seed, n, 2])
        n_compounds, n_lines = self.log_c.shape
        first = rng.integers(n_compounds, size=n)
        second = (first + rng.integers(1, n_compounds, size=n)) % n_compounds
        compounds = np.sort(np.stack([first, second], axis=1), axis=1)
        rank = rng.integers(self.doses_um.shape[1], size=(n, 2))
        return self._measured(compounds, rank, rng.integers(n_lines, size=n), seed)

    def _measured(self, compounds: IntArray, rank: IntArray, line: IntArray, seed: int) -> Wells:
        n, k = compounds.shape
        slots = np.full((n, MAX_COMPOUNDS), ABSENT, np.int64)
        doses = np.zeros((n, MAX_COMPOUNDS))
        slots[:, :k], doses[:, :k] = compounds, self.doses_um[compounds, rank]
        return self.measure(slots, doses, line.astype(np.int64), seed)


def simulate_tensor(
    n_compounds: int = 40,
    n_cell_lines: int = 40,
    n_doses: int = 3,
    noise_sd: float = 0.06,
    seed: int = 0,
    *,
    gated: bool = False,
) -> SimulatedTensor:
    """A tensor drawn by ``seed``; the same arguments give the same truth.

    Spreads are chosen such that, for 40 x 40 x 3 and noise 0.06, the Bliss product of the true
    single agents has a mean squared error near 0.0065 and the additive logit model one near 0.028.
    """
    rng = np.random.default_rng([seed, n_compounds, n_cell_lines, n_doses])
    decades = (np.arange(n_doses) - (n_doses - 1) / 2) / _DOSES_PER_DECADE
    doses = np.tile(10.0**decades, (n_compounds, 1))
    low_rank = rng.standard_normal((n_compounds, _RANK)) @ rng.standard_normal(
        (_RANK, n_cell_lines)
    )
    own = 0.3 + 1.5 * rng.standard_normal(n_compounds)
    log_c = own[:, None] + 1.35 * low_rank / np.sqrt(_RANK)
    log_h = np.repeat(0.25 * rng.standard_normal((n_compounds, 1)), n_cell_lines, axis=1)
    emax = np.repeat(rng.uniform(0.0, 0.3, (n_compounds, 1)), n_cell_lines, axis=1)
    return SimulatedTensor(
        log_c=log_c,
        log_h=log_h,
        emax=emax,
        doses_um=doses,
        strength=_strength(rng, n_compounds, n_cell_lines),
        noise_sd=noise_sd,
        gated=gated,
    )


def _strength(rng: np.random.Generator, n_compounds: int, n_cell_lines: int) -> FloatArray:
    factors = rng.uniform(-1.7, 1.7, (n_compounds, _RANK))
    weights = rng.standard_normal((n_cell_lines, _RANK))
    weak = 0.055 * np.einsum("ir,jr,lr->ijl", factors, factors, weights)
    one, two = np.triu_indices(n_compounds, 1)
    chosen = rng.random(len(one)) < _SHARE_OF_SYNERGY
    sparse = np.zeros((n_compounds, n_compounds))
    sparse[one, two] = chosen * rng.uniform(0.4, 1.2, len(one))
    return np.asarray(weak + (sparse + sparse.T)[:, :, None], dtype=np.float64)
