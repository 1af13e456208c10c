"""The network of ``bnn_gaussian``: symmetric in the pair, every weight with a Gaussian posterior.

For compound a in cell line l:
    h = 1.5 silu(W_f fingerprint_a + E_a + W_x features_l + E_l + W_s curve_al + bias)
    u = U h,   v = V h + bias,   s = w_s h
For the pair:
    p = v_a * v_b                                    (the bilinear form, elementwise)
    q = 1.5 silu((u_a + u_b) / sqrt 2 + M p + bias)
    g = w_q q + (s_a + s_b) / sqrt 2 + w_p p + main_a + main_b + main_l
        + effect_al + effect_bl + effect_ab
    f = w(g)                                         (a learned bend, :mod:`models.synergy.warp`)

Sums and products of the two compounds commute in floating point, so swapping them gives the same
bits. The effects in g are random effects of a linear mixed model: there the mean-field posterior
has the exact mean, whereas a wide mean-field network alone prunes itself towards its prior (Coker
et al. 2022, arXiv 2106.07052). Effects of combinations never measured follow the prior, addressed
by name (:mod:`models.pharmacology.random_numbers`), so that each draw is one function of all pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.layers import (
    GaussianWeight,
    Moments,
    VariationalEmbedding,
    VariationalLinear,
    add_moments,
    draw_moments,
)
from models.screen import Candidates, IntArray
from models.synergy.inputs import InputTables
from models.synergy.warp import Warp

HIDDEN = 16
"""Width of the encoding of a compound in a cell line."""
PAIR_HIDDEN = 16
RANK = 8
"""Width of the elementwise product of two compounds."""
HALF = 1 / math.sqrt(2)
SLOPE = 1.5
"""Keeps the variance of activations near 1 through ``silu``."""
EFFECT_START = 0.15
"""Starting standard deviation of random effects as a share of their prior scale."""
MIN_DF = 3.0
"""Fewest degrees of freedom of the observation noise: its variance must exist."""
DF_START = 4.0
"""Median of the log-normal prior of the degrees of freedom above ``MIN_DF``, and the start."""
DF_LOG_SD = 0.5
"""Narrow, so that rare true hits are not explained as noise with ever heavier tails."""

PRIOR = {
    "fingerprint": 0.25,
    "compound": 0.5,
    "features": 0.4,
    "cell_line": 0.3,
    "curve": 1.0,
    "sum": 1.2,
    "product": 0.5,
    "mix": 0.7,
    "head": 0.5,
    "skip": 0.4,
    "bilinear": 0.5,
    "main_compound": 0.15,
    "main_cell_line": 0.4,
    "effect_single": 0.3,
    "effect_pair": 0.32,
}
"""Prior gain of each part, for scores of unit variance (see :mod:`models.bayes.layers`)."""


@dataclass(frozen=True)
class Sizes:
    """Everything that fixes the shapes of the network; JSON-able through ``dataclasses.asdict``."""

    n_compounds: int
    n_cell_lines: int
    fingerprint: int
    features: int
    curve: int
    n_single_effects: int
    n_pair_effects: int


@dataclass(frozen=True)
class Rows:
    """Candidates as indices, ``(rows,)`` each.

    ``single_a``, ``single_b``: position in the table of (compound, cell line). ``effect_*``:
    position among the measured effects, the number of effects where never measured.
    """

    a: Tensor
    b: Tensor
    cell_line: Tensor
    single_a: Tensor
    single_b: Tensor
    effect_a: Tensor
    effect_b: Tensor
    effect_ab: Tensor

    def select(self, rows: Tensor) -> Rows:
        """The rows at ``rows``."""
        return Rows(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Effects:
    """Keys of the measured random effects, sorted: (compound, cell line) and pairs."""

    singles: IntArray
    pairs: IntArray

    @classmethod
    def of(cls, candidates: Candidates, n_compounds: int, n_cell_lines: int) -> Effects:
        """Those of measured blocks."""
        singles = candidates.compounds * n_cell_lines + candidates.cell_line[:, None]
        return cls(np.unique(singles), np.unique(_pair_keys(candidates, n_compounds)))

    def rows(
        self, candidates: Candidates, n_compounds: int, n_cell_lines: int, device: torch.device
    ) -> Rows:
        """Indices of candidates into the tables."""
        a, b = candidates.compounds[:, 0], candidates.compounds[:, 1]
        single_a = a * n_cell_lines + candidates.cell_line
        single_b = b * n_cell_lines + candidates.cell_line
        found = (
            _position(self.singles, single_a),
            _position(self.singles, single_b),
            _position(self.pairs, _pair_keys(candidates, n_compounds)),
        )
        columns = (a, b, candidates.cell_line, single_a, single_b, *found)
        return Rows(*(torch.as_tensor(np.ascontiguousarray(c), device=device) for c in columns))


class Network(nn.Module):
    """See the module's text. Noise: Student-t with learned scale and degrees of freedom."""

    def __init__(self, sizes: Sizes, generator: torch.Generator) -> None:
        super().__init__()
        self.sizes = sizes
        hidden, g = HIDDEN, generator
        self.fingerprint = _unit_rows(sizes.fingerprint, hidden, PRIOR["fingerprint"], g)
        self.features = _unit_rows(sizes.features, hidden, PRIOR["features"], g)
        self.compound = VariationalEmbedding(sizes.n_compounds, hidden, g, gain=PRIOR["compound"])
        self.cell_line = VariationalEmbedding(
            sizes.n_cell_lines, hidden, g, gain=PRIOR["cell_line"]
        )
        self.curve = VariationalLinear(sizes.curve, hidden, g, gain=PRIOR["curve"])
        self.sum = VariationalLinear(hidden, PAIR_HIDDEN, g, gain=PRIOR["sum"], bias=False)
        self.product = VariationalLinear(hidden, RANK, g, gain=PRIOR["product"])
        self.mix = VariationalLinear(RANK, PAIR_HIDDEN, g, gain=PRIOR["mix"])
        self.head = VariationalLinear(PAIR_HIDDEN, 1, g, gain=PRIOR["head"])
        self.skip = VariationalLinear(hidden, 1, g, gain=PRIOR["skip"], bias=False)
        self.bilinear = VariationalLinear(RANK, 1, g, gain=PRIOR["bilinear"], bias=False)
        self.main_compound = _effects(sizes.n_compounds, PRIOR["main_compound"], g)
        self.main_cell_line = _effects(sizes.n_cell_lines, PRIOR["main_cell_line"], g)
        self.effect_single = _effects(sizes.n_single_effects, PRIOR["effect_single"], g)
        self.effect_pair = _effects(sizes.n_pair_effects, PRIOR["effect_pair"], g)
        self.log_noise = nn.Parameter(torch.tensor(-0.5))
        self.log_df = nn.Parameter(torch.tensor(math.log(DF_START)))
        self.warp = Warp()
        self.bend_compound, self.bend_pair = nn.SiLU(), nn.SiLU()

    def forward(self, rows: Rows, tables: InputTables, generator: torch.Generator) -> Tensor:
        """``(rows,)`` scores, one independent draw a row (training only)."""
        first = self._encode(rows.a, rows.single_a, rows.cell_line, tables, generator)
        second = self._encode(rows.b, rows.single_b, rows.cell_line, tables, generator)
        total = (first + second) * HALF
        forms = self.product(torch.cat([first, second]), generator)
        product = forms[: len(first)] * forms[len(first) :]
        mixed = add_moments(self.sum.moments(total), self.mix.moments(product))
        hidden = SLOPE * self.bend_pair(draw_moments(mixed, generator))
        output = add_moments(
            self.head.moments(hidden),
            self.skip.moments(total),
            self.bilinear.moments(product),
            *self._effect_moments(rows),
        )
        bent: Tensor = self.warp(draw_moments(output, generator)[:, 0])
        return bent

    def kl(self) -> Tensor:
        """Scalar, nats, summed over every weight of every layer."""
        weights = [m for m in self.modules() if isinstance(m, GaussianWeight)]
        return torch.stack([weight.kl() for weight in weights]).sum()

    def penalty(self) -> Tensor:
        """Minus the log prior of the parameters that have no posterior; a scalar, nats."""
        df = (self.log_df - math.log(DF_START)) / DF_LOG_SD
        return self.warp.penalty() + 0.5 * df.square()

    def noise(self) -> tuple[Tensor, Tensor]:
        """Scale and degrees of freedom of the observation noise."""
        return torch.exp(self.log_noise), MIN_DF + torch.exp(self.log_df)

    @torch.no_grad()
    def forget_unmeasured(self, rows: Rows) -> None:
        """Give identities without any data their prior, which is their exact posterior."""
        seen_compounds = torch.cat([rows.a, rows.b])
        for layers, seen in (
            ((self.compound, self.main_compound), seen_compounds),
            ((self.cell_line, self.main_cell_line), rows.cell_line),
        ):
            for layer in layers:
                unseen = torch.ones(len(layer.table.mean), dtype=torch.bool)
                unseen[seen.cpu()] = False
                layer.table.reset_to_prior(unseen.to(seen.device))

    def _encode(
        self,
        compound: Tensor,
        single: Tensor,
        cell_line: Tensor,
        tables: InputTables,
        generator: torch.Generator,
    ) -> Tensor:
        compounds = self.fingerprint.moments(tables.compounds)
        lines = self.features.moments(tables.cell_lines)
        moments = add_moments(
            _gather(compounds, compound),
            self.compound.moments(compound),
            _gather(lines, cell_line),
            self.cell_line.moments(cell_line),
            self.curve.moments(tables.curves[single]),
        )
        bent: Tensor = self.bend_compound(draw_moments(moments, generator))
        return SLOPE * bent

    def _effect_moments(self, rows: Rows) -> tuple[Moments, ...]:
        return (
            self.main_compound.moments(rows.a),
            self.main_compound.moments(rows.b),
            self.main_cell_line.moments(rows.cell_line),
            self.effect_single.moments(rows.effect_a),
            self.effect_single.moments(rows.effect_b),
            self.effect_pair.moments(rows.effect_ab),
        )


def _pair_keys(candidates: Candidates, n_compounds: int) -> IntArray:
    """One integer a pair, the same in both orders."""
    low, high = candidates.compounds.min(axis=1), candidates.compounds.max(axis=1)
    return np.asarray(low * n_compounds + high, dtype=np.int64)


def _position(known: IntArray, keys: IntArray) -> IntArray:
    """Where each key lies in the sorted ``known``, ``len(known)`` where it does not."""
    if not len(known):
        return np.zeros(len(keys), np.int64)
    at = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return np.where(known[at] == keys, at, len(known))


def _gather(moments: Moments, index: Tensor) -> Moments:
    return functional.embedding(index, moments[0]), functional.embedding(index, moments[1])


def _unit_rows(
    fan_in: int, width: int, gain: float, generator: torch.Generator
) -> VariationalLinear:
    """A layer for inputs whose rows have unit *length*: the prior scale is the gain itself."""
    scaled = gain * math.sqrt(max(fan_in, 1))
    return VariationalLinear(fan_in, width, generator, gain=scaled, bias=False)


def _effects(count: int, gain: float, generator: torch.Generator) -> VariationalEmbedding:
    return VariationalEmbedding(
        count, 1, generator, gain=gain, mean_start=0.0, sd_start=EFFECT_START
    )
