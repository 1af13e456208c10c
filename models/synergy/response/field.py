"""The unknowns that wells see directly, and one Gibbs step for each kind of them.

Everything a step conditions on is cached per well and slot, so that a step costs a handful of
passes over the wells that see it. All steps are exact draws (:mod:`.newton`) given the weights
``1 / variance`` of the wells and the priors, which :mod:`.hierarchy` and :mod:`.errors` draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.synergy.response.incidence import Colour, colours_of
from models.synergy.response.newton import (
    Evaluate,
    Fit,
    GaussianPrior,
    Moved,
    Slope,
    fixed_metropolis,
    gather_fit,
    newton_ascent,
    newton_metropolis,
)
from models.synergy.response.surface import PAIR_SLOTS, curve_values, pair_features, symmetric
from models.synergy.response.table import WellTable

_GATE_STEPS = (0.3, 0.05)
START_GATE = 0.3
_FEW_ENTRIES = 64

GATE_PRIOR = (float(np.log(0.5)), 1.0)


@dataclass(frozen=True)
class _FactorView:
    """Flat positions, for each other slot of the entries' wells, of the pair of slots and of the
    (cell line, other compound)."""

    pairs: tuple[Tensor, ...]
    partners: tuple[Tensor, ...]


@dataclass(frozen=True)
class _CurveView:
    """A colour of curves with what never changes: flat positions of the entry, of the other slots
    of its well, of its pairs, and (three slots) of the pair without it."""

    colour: Colour
    x: Tensor
    own: Tensor
    others: tuple[Tensor, ...]
    pairs: tuple[Tensor, ...]
    rest: Tensor | None


class Field:
    """State of one chain. ``theta``: ``(cells + 1, 3)``; ``pair``: ``(pairs + 1, 1)``; ``block``:
    ``(blocks + 1, 1)``; ``line``: ``(n_lines,
    r (r + 1) / 2)``; ``compound``: ``(n_compounds + 1, r)``;
    ``gamma``: scalar. Last rows stand for empty slots. ``weight``: ``(n,)`` set by the owner."""

    def __init__(
        self, table: WellTable, rank: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self.table, self.rank, self.generator, self.device = table, rank, generator, device
        n, k = len(table), table.slots
        self.slot_pairs = PAIR_SLOTS[k]
        self.viability = self._tensor(table.viability)
        self.x = self._tensor(table.log_dose)
        self.present = torch.from_numpy(table.present).to(device)
        self.cell, self.pair_at, self.block_at, self.compound_at, self.line_at = (
            torch.from_numpy(np.ascontiguousarray(a)).to(device)
            for a in (table.cell, table.pair, table.block, table.compound, table.line)
        )
        self.theta = self._zeros(len(table.cells) + 1, 3)
        self.pair = self._zeros(len(table.pairs) + 1, 1)
        self.block = self._zeros(len(table.blocks) + 1, 1)
        self.line = 0.1 * self._normal(table.n_lines, rank * (rank + 1) // 2)
        self.compound = self._normal(table.n_compounds + 1, rank)
        self.compound[-1] = 0.0
        self.gamma = torch.tensor(START_GATE, dtype=torch.float64, device=device)
        self.weight = torch.full((n,), 100.0, dtype=torch.float64, device=device)
        self.acceptance: dict[str, float] = {}
        self._views()
        self.refresh()

    def _views(self) -> None:
        table, device = self.table, self.device
        well, slot = np.nonzero(table.present)
        colours = colours_of(table.cell[well, slot], well, slot, len(table.cells), device)
        self.curve_views = [self._curve_view(colour) for colour in colours]
        well, place = np.nonzero(table.pair < len(table.pairs))
        self.pair_views = colours_of(table.pair[well, place], well, place, len(table.pairs), device)
        self.block_views = colours_of(
            table.block[well, place], well, place, len(table.blocks), device
        )
        combined = np.unique(well)
        nowhere = np.zeros_like(combined)
        self.line_views = colours_of(table.line[combined], combined, nowhere, table.n_lines, device)
        joint = table.present & (table.present.sum(axis=1) > 1)[:, None]
        well, slot = np.nonzero(joint)
        self.compound_views = colours_of(
            table.compound[well, slot], well, slot, table.n_compounds, device
        )
        self.factor_views = {id(c): self._factor_view(c) for c in self.compound_views}
        self.idle = {"pair": torch.empty(0), "block": torch.empty(0)}
        for name, busy, count in (
            ("line", table.line[combined], table.n_lines),
            ("compound", table.compound[well, slot], table.n_compounds),
        ):
            self.idle[name] = torch.from_numpy(np.setdiff1d(np.arange(count), busy)).to(device)

    def _curve_view(self, colour: Colour) -> _CurveView:
        k, p = self.table.slots, len(self.slot_pairs)
        others = [self._other(colour.slot, step) for step in range(1, k)]
        pairs = tuple(colour.well * p + self._pair_slot(colour.slot, o) for o in others)
        rest = colour.well * p + self._pair_slot(*others) if k == 3 else None
        own = colour.well * k + colour.slot
        flat = tuple(colour.well * k + o for o in others)
        return _CurveView(colour, self.x.view(-1)[own], own, flat, pairs, rest)

    def _factor_view(self, colour: Colour) -> _FactorView:
        k, rows = self.table.slots, self.table.n_compounds + 1
        others = [self._other(colour.slot, step) for step in range(1, k)]
        at, line = self.compound_at.view(-1), _at(self.line_at, colour.well)
        return _FactorView(
            tuple(
                colour.well * len(self.slot_pairs) + self._pair_slot(colour.slot, o) for o in others
            ),
            tuple(line * rows + _at(at, colour.well * k + o) for o in others),
        )

    def _other(self, slot: Tensor, step: int) -> Tensor:
        return (slot + step) % self.table.slots

    def _pair_slot(self, first: Tensor, second: Tensor) -> Tensor:
        """Position of a pair of slots in ``slot_pairs``: 01, 02, 12 count 0, 1, 2."""
        return first + second - 1

    def refresh(self) -> None:
        """Rebuild the caches from the unknowns."""
        values = curve_values(self.theta, self.cell, self.x)
        self.effect = torch.where(self.present, values.effect, 1.0)
        self.log_occupancy = torch.where(self.present, values.log_occupancy, 0.0)
        self.gate = torch.exp(self.gamma * self.log_occupancy)
        self.finish_interactions()

    def finish_interactions(self) -> None:
        """Bring the caches of interactions up to date after their steps."""
        self.kappa = self.pair[self.pair_at][..., 0] + self.block[self.block_at][..., 0]
        line = self.line[self.line_at]
        sides = [self.compound[self.compound_at[:, k]] for k in range(self.table.slots)]
        for p, (i, j) in enumerate(self.slot_pairs):
            self.kappa[:, p] += (line * pair_features(sides[i], sides[j])).sum(-1)
        self.both = self.both_of(self.gate)
        self.level = self.level_of(self.both)

    def both_of(self, gate: Tensor) -> Tensor:
        """``(n, p)`` product of the gates of each pair of slots."""
        first, second = [i for i, _ in self.slot_pairs], [j for _, j in self.slot_pairs]
        return gate[:, first] * gate[:, second]

    def level_of(self, both: Tensor) -> Tensor:
        """``(n,)`` viability of the wells under the current unknowns."""
        return self.effect.prod(1) * torch.exp(-(self.kappa * both).sum(1))

    def set_gate(self, gamma: float) -> None:
        """Another exponent, caches included."""
        self.gamma = torch.full_like(self.gamma, gamma)
        self.gate = torch.exp(self.gamma * self.log_occupancy)
        self.both = self.both_of(self.gate)
        self.level = self.level_of(self.both)

    # --- curves -----------------------------------------------------------------------------

    def draw_curves(self, prior: GaussianPrior, persistence: float, *, climb: bool = False) -> None:
        """New ``theta`` of every measured curve; ``prior`` has one row per curve."""
        effect, gate = self.effect.view(-1), self.gate.view(-1)
        occupancy = self.log_occupancy.view(-1)
        accepted = 0.0
        for view in self.curve_views:
            units = view.colour.units
            local = GaussianPrior(prior.mean[units], prior.precision[units])
            moved = self._move(view, self.theta[units], local, persistence, climb)
            self.theta[units] = moved.value
            for table, new in zip((effect, occupancy, gate), moved.cache, strict=False):
                table.index_copy_(0, view.own, new)
            self.level.index_copy_(0, view.colour.well, moved.cache[-1])
            accepted += float(moved.accepted.double().sum())
        self.acceptance["curves"] = accepted / max(len(self.table.cells), 1)
        self.both = self.both_of(self.gate)

    def _curve_fit(self, view: _CurveView) -> Evaluate:
        colour, gamma = view.colour, self.gamma
        weight, y = _at(self.weight, colour.well), _at(self.viability, colour.well)
        effect, gate, kappa = self.effect.view(-1), self.gate.view(-1), self.kappa.view(-1)
        base, pull = torch.ones_like(view.x), torch.zeros_like(view.x)
        for other, pair in zip(view.others, view.pairs, strict=True):
            base = base * _at(effect, other)
            pull = pull + _at(kappa, pair) * _at(gate, other)
        if view.rest is not None:
            one, two = view.others
            base = base * torch.exp(-kappa[view.rest] * gate[one] * gate[two])

        def evaluate(theta: Tensor) -> Fit:
            values = curve_values(theta, colour.local, view.x)
            own_gate = torch.exp(gamma * values.log_occupancy)
            drawn = pull * own_gate
            rest = base * torch.exp(-drawn)
            level = rest * values.effect
            by_z = rest * values.slope - (gamma * drawn) * level * values.free
            jacobian = (-values.steepness * by_z, values.z * by_z, rest * values.lift)
            cache = (values.effect, values.log_occupancy, own_gate, level)
            return gather_fit(y - level, jacobian, weight, colour.sums, cache)

        return evaluate

    # --- interactions -----------------------------------------------------------------------

    def draw_interactions(
        self, name: str, prior: GaussianPrior, typical: Tensor, *, climb: bool = False
    ) -> None:
        """New values of ``pair``, ``block``, ``line`` or ``compound``; one prior row per unit.

        ``typical``: ``(n,)`` levels at which the matrix of the proposals is taken; the draws are
        exact whatever they are, as long as they do not depend on the unknowns.
        """
        value: Tensor = getattr(self, name)
        regressors = getattr(self, f"_{name}_x")
        self._draw_idle(name, value, prior)
        if name == "compound":
            self.partner = self._partners(self.compound)
        accepted, total = 0.0, 0
        for colour in getattr(self, f"{name}_views"):
            units, well = colour.units, colour.well
            x = regressors(colour)
            slopes = _Slopes(self, colour, x, value[units], _at(typical, well))
            local = GaussianPrior(prior.mean[units], prior.precision[units])
            value[units], wins, here, there = fixed_metropolis(
                value[units], local, slopes.matrix(), slopes, self.generator, climb=climb
            )
            level = torch.where(_at(wins, colour.local), there.level, here.level)
            self.level.index_copy_(0, well, level)
            if name == "compound":
                self.partner.index_copy_(1, units, self._partners(value[units]))
            accepted += float(wins.double().sum())
            total += len(units)
        self.acceptance[name] = accepted / max(total, 1)

    def _draw_idle(self, name: str, value: Tensor, prior: GaussianPrior) -> None:
        """Units that no well sees follow their prior."""
        idle = self.idle[name]
        if len(idle):
            noise = self._normal(len(idle), value.shape[1])
            value[idle] = prior.mean[idle] + noise / prior.precision[idle].sqrt()

    def _pair_x(self, colour: Colour) -> Tensor:
        return _at(self.both.view(-1), colour.well * len(self.slot_pairs) + colour.slot)[:, None]

    _block_x = _pair_x

    def _line_x(self, colour: Colour) -> Tensor:
        at = _at(self.compound_at, colour.well)
        sides = [_at(self.compound, at[:, k]) for k in range(self.table.slots)]
        both = _at(self.both, colour.well)
        parts = [
            both[:, p, None] * pair_features(sides[i], sides[j])
            for p, (i, j) in enumerate(self.slot_pairs)
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def _compound_x(self, colour: Colour) -> Tensor:
        view, both_at = self.factor_views[id(colour)], self.both.view(-1)
        partner = self.partner.view(-1, self.rank)
        parts = [
            _at(both_at, pair)[:, None] * _at(partner, at)
            for pair, at in zip(view.pairs, view.partners, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def _partners(self, compounds: Tensor) -> Tensor:
        """``(n_lines, c, r)`` matrix of each cell line times the factors of these compounds."""
        matrix = symmetric(self.line, self.rank)
        return torch.einsum("lrs,cs->lcr", matrix, compounds).contiguous()

    def draw_gate(self, steps: tuple[float, ...] = _GATE_STEPS) -> None:
        """Random-walk Metropolis steps of ``log gamma``, whose prior is normal."""
        for width in steps:
            step = width * self._normal(1)[0]
            proposal = self.gamma * step.exp()
            gate = torch.exp(proposal * self.log_occupancy)
            both = self.both_of(gate)
            level = self.level_of(both)
            ratio = self._gate_density(proposal, level) - self._gate_density(self.gamma, self.level)
            uniform = torch.rand(
                (), generator=self.generator, dtype=torch.float64, device=self.device
            )
            if bool(torch.nan_to_num(ratio, nan=-torch.inf) > uniform.log()):
                self.gamma, self.gate, self.both, self.level = proposal, gate, both, level

    def _gate_density(self, gamma: Tensor, level: Tensor) -> Tensor:
        misfit = (self.weight * (self.viability - level).square()).sum()
        away = (gamma.log() - GATE_PRIOR[0]) / GATE_PRIOR[1]
        return -0.5 * misfit - 0.5 * away.square()

    def _move(
        self,
        view: _CurveView,
        value: Tensor,
        prior: GaussianPrior,
        persistence: float,
        climb: bool,
    ) -> Moved:
        def spread(wins: Tensor) -> Tensor:
            return _at(wins, view.colour.local)

        evaluate = self._curve_fit(view)
        if climb:
            return newton_ascent(value, prior, evaluate, spread)
        return newton_metropolis(value, prior, evaluate, spread, self.generator, persistence)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=self.device).contiguous()

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64, device=self.device)


class _Slopes:
    """How wells change with the unknowns of one colour of interactions.

    The level is ``rest * exp(- x . value)``; ``x``: ``(e, d)``.
    """

    def __init__(
        self, field: Field, colour: Colour, x: Tensor, value: Tensor, typical: Tensor
    ) -> None:
        self.x, self.local, self.sums = x, colour.local, colour.sums
        many = len(x) > _FEW_ENTRIES * len(colour.units) and x.shape[1] > 1
        self.starts = colour.starts if many else None
        weight = _at(field.weight, colour.well)
        self.y = _at(field.viability, colour.well)
        self.jacobian = -typical[:, None] * x
        self.root = weight.sqrt()
        self.weighted = self.jacobian * weight[:, None]
        self.rest = _at(field.level, colour.well) * torch.exp(self._sum(value))

    def matrix(self) -> Tensor:
        """``(u, d, d)`` Gauss-Newton at the typical levels."""
        size = self.x.shape[1]
        if len(self.sums) == 1:
            return (self.weighted.T @ self.jacobian)[None]
        if self.starts is not None:
            bounds = pairwise(self.starts)
            return torch.stack([self.weighted[a:b].T @ self.jacobian[a:b] for a, b in bounds])
        outer = self.weighted[:, :, None] * self.jacobian[:, None, :]
        return (self.sums @ outer.reshape(-1, size * size)).reshape(-1, size, size)

    def __call__(self, value: Tensor) -> Slope:
        level = self.rest * torch.exp(-self._sum(value))
        residual = self.y - level
        scaled = residual * self.root
        if len(value) == 1:
            density, gradient = scaled.dot(scaled)[None], (residual @ self.weighted)[None]
        else:
            density = (self.sums @ (scaled * scaled)[:, None])[:, 0]
            gradient = self.sums @ (self.weighted * residual[:, None])
        return Slope(-0.5 * density, gradient, level)

    def _sum(self, value: Tensor) -> Tensor:
        """``(e,)`` x . value"""
        if len(value) == 1:
            return self.x @ value[0]
        own = _at(value, self.local)
        return self.x[:, 0] * own[:, 0] if value.shape[1] == 1 else (self.x * own).sum(-1)


def _at(table: Tensor, rows: Tensor) -> Tensor:
    """``table[rows]`` along the first axis; several times faster than indexing."""
    return table.index_select(0, rows)
