"""The posterior of a drug pair with all small effects integrated out.

Some thirty parameters of the population and plates bend the curves as the system says. The effects
of dose pairs, frames and wells are many, small and normal a priori: readings (transformed) are
linear in them to first order around the mode, so given spreads and noise they are integrated out
in closed form (a Laplace approximation in the effects, as in Lindstrom & Bates 1990, Biometrics
46, and Rue, Martino & Chopin 2009, JRSS B 71), and drawn exactly afterwards. What is left to
sample has a few dozen dimensions. Spreads and noise ("hyper") are at the maximum of their own
posterior, for which the parameters too are integrated out in their linear approximation.

Student-t noise is a normal one whose precision differs between readings: each innovation z has
the weight (df + 1) / (df + z^2), its expectation given z (Lange, Little & Taylor 1989, JASA 84).

Shapes: ``N`` wells, ``M`` cells, ``C`` dose pairs, ``R`` kinds of their effects, ``Q`` effects of
a well, ``X`` parameters, ``J`` = 3 T readings of a well, channel by channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.dynamics.drug_pair import LEAST_DF, LONGEST_MEMORY, PairModel
from models.dynamics.hmc import NotFiniteError
from models.dynamics.systems.growth_death import CHANNELS, CONDITION

_STEP = 0.02


@dataclass(frozen=True)
class Linear:
    """Transformed readings around a point: ``centre`` ``(M, J)`` there; slopes along parameters
    ``by_point`` ``(M, J, X)``, and along elements (inner scale) ``by_pair`` ``(M, J, R)`` and
    ``by_well`` ``(M, J, Q)``; ``point`` ``(X,)``, ``hyper`` ``(H,)``. The effects of pairs are then
    at ``offset`` ``(M, R)``, but ``centre`` is where the straight lines would be without them."""

    offset: Tensor
    point: Tensor
    hyper: Tensor
    centre: Tensor
    by_point: Tensor
    by_pair: Tensor
    by_well: Tensor


def root_of(precision: Tensor, of: str) -> Tensor:
    """The Cholesky factor. Raises :class:`NotFiniteError`, which names whose precision fails."""
    found: Tensor
    found, failed = torch.linalg.cholesky_ex(precision)
    if bool((failed != 0).any()) or not bool(torch.isfinite(found).all()):
        raise NotFiniteError(f"the precision of {of} is not positive definite")
    return found


class PairMarginal:
    """Marginal densities of one experiment's model. ``weights`` ``(N, 3, T)`` of readings."""

    def __init__(self, model: PairModel) -> None:
        self.model = model
        read = model.readings
        self.values, self.observed, self.before, self.gap = (
            part[:, :, 0].permute(2, 1, 0).contiguous()
            for part in (read.values, read.observed, read.before, read.gap)
        )
        # No reading is missing between two others: the one before is a shift in time.
        steps = torch.arange(self.before.shape[2]) - 1
        self.plain = bool(((self.before == steps) | (self.observed == 0)).all())
        self.first = self.before < 0
        self.unweigh()
        corr = [model.surfaces[name].covariance for name in model.misfits]
        self.covariance = torch.stack(corr)
        names = [model.names[i] for i in model.hyper.tolist()]
        self._names = names
        kinds = [model.hierarchy.elements.index(name) for name in model.misfits]
        self._kinds = torch.tensor(kinds)
        self._pair_sd = [names.index(f"{n}.{CONDITION}.sd") for n in model.misfits]
        self._well_sd = [names.index(f"{n}.sd") for n in model.hierarchy.individual_names()]
        self.prior_mean, self.prior_sd = model.centre[model.hyper], model.unit[model.hyper]
        self._plate = [
            (at, names.index(f"{name.split('=')[0]}.sd"))
            for at, name in enumerate(model.names[i] for i in model.free.tolist())
            if "=" in name
        ]

    @property
    def noise_places(self) -> list[int]:
        """Places of the scales of the noise among hyper."""
        return [i for i, name in enumerate(self._names) if name.startswith("noise_scale")]

    def unweigh(self) -> None:
        """Normal noise: every reading counts alike."""
        self.weights = torch.ones_like(self.values)
        self.bound = -0.5 * math.log(2 * math.pi) * float(self.observed.sum())

    def score(self, linear: Linear, hyper: Tensor) -> float:
        """Evidence with all constants of the noise, nats: comparable between weights."""
        with torch.no_grad():
            return float(self.evidence(linear, hyper)) + self.bound

    def _of(self, hyper: Tensor, name: str) -> Tensor:
        places = [i for i, n in enumerate(self._names) if n == name or n.startswith(f"{name}[")]
        return hyper[places]

    def noise(self, hyper: Tensor) -> tuple[Tensor, Tensor]:
        """Share of the reading before that is kept, and scale of what is new, ``(N, 3, T)``."""
        scale = torch.exp(self._of(hyper, "noise_scale"))[:, None]
        memory = torch.sigmoid(self._of(hyper, "noise_memory"))[:, None]
        memory = memory * (self.model.scale.hours * LONGEST_MEMORY)
        exponent = -self.gap / memory
        kept = torch.where(self.first, torch.zeros_like(exponent), torch.exp(exponent))
        left = torch.where(self.first, torch.ones_like(exponent), -torch.expm1(2 * exponent))
        return kept, scale * torch.sqrt(left)

    def whiten(self, columns: Tensor, hyper: Tensor) -> Tensor:
        """Independent standard normal noise from noise with memory: ``(N, 3, T, q)`` to
        ``(N, J, q)``; rows of readings that are missing are 0."""
        kept, scale = self.noise(hyper)
        if self.plain:
            before = torch.cat([torch.zeros_like(columns[:, :, :1]), columns[:, :, :-1]], dim=2)
        else:
            index = self.before.clamp_min(0)[..., None].expand(columns.shape)
            before = torch.gather(columns, 2, index)
        new = columns - kept[..., None] * before
        factor = self.observed * torch.sqrt(self.weights) / scale
        return (new * factor[..., None]).flatten(1, 2)

    def elements(self, shared: Tensor, offset: Tensor) -> Tensor:
        """Elements of cells ``(K, M, P)`` with effects of pairs ``(M, R)``."""
        found = self.model.elements(shared)
        return found.index_add(2, self._kinds, offset.expand(len(found), -1, -1))

    def linear(self, point: Tensor, hyper: Tensor, offset: Tensor) -> Linear:
        """Slopes at ``point`` ``(X,)`` and effects of pairs ``(M, R)``, by central differences."""
        model = self.model
        with torch.no_grad():
            eye = _STEP * torch.eye(len(point), dtype=point.dtype)
            shared = model.at(torch.cat([point[None], point + eye, point - eye]), hyper)
            found = model.expected(self.elements(shared, offset)).flatten(2)
            up, down = found[1:].chunk(2)
            by_point = ((up - down) / (2 * _STEP)).permute(1, 2, 0)
            elements = self.elements(shared[:1], offset)
            wells = model.hierarchy.individual.tolist()
            pairs = self._kinds.tolist()
            eye = _STEP * torch.eye(elements.shape[2], dtype=point.dtype)[[*pairs, *wells], None]
            ahead, behind = (model.expected(elements + way * eye).flatten(2) for way in (1, -1))
            slopes = ((ahead - behind) / (2 * _STEP)).permute(1, 2, 0)
        treated = (model.pair_of_cell >= 0)[:, None, None]
        by_pair = slopes[..., : len(pairs)] * treated
        centre = found[0] - (by_pair @ offset[..., None])[..., 0]
        return Linear(offset, point, hyper, centre, by_point, by_pair, slopes[..., len(pairs) :])

    def pair_spreads(self, hyper: Tensor) -> Tensor:
        """Spreads of the effects of pairs ``(R,)``."""
        return torch.exp(hyper[self._pair_sd])

    def scaled(self, linear: Linear, hyper: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Slopes along standardised parameters, effects of pairs and wells, at cells; and the
        sizes of frames ``(J,)``."""
        ratio = torch.zeros(linear.by_point.shape[2], dtype=hyper.dtype)
        if self._plate:
            at, sd = (list(part) for part in zip(*self._plate, strict=True))
            ratio = ratio.index_copy(0, torch.tensor(at), hyper[sd] - linear.hyper[sd])
        by_pair = linear.by_pair * self.pair_spreads(hyper)
        by_well = linear.by_well * torch.exp(hyper[self._well_sd])
        frames = torch.exp(self._of(hyper, "frame_size"))
        size = frames.repeat_interleave(self.values.shape[2])
        return linear.by_point * torch.exp(ratio), by_pair, by_well, size

    def evidence(self, linear: Linear, hyper: Tensor) -> Tensor:
        """log p(hyper, readings) up to a constant, everything else integrated out as linear.
        Raises :class:`NotFiniteError`."""
        cell, t = self.model.cell, self.values.shape[2]
        by_point, by_pair, by_well, size = self.scaled(linear, hyper)
        rest = self.values.flatten(1) - linear.centre[cell] + linear.by_point[cell] @ linear.point
        frames = torch.diag(size).expand(len(cell), -1, -1)
        stacked = torch.cat(
            [by_pair[cell], by_point[cell], frames, rest[..., None], by_well[cell]], 2
        )
        white = self.whiten(stacked.reshape(len(cell), len(CHANNELS), t, -1), hyper)
        r, q = by_pair.shape[2], by_well.shape[2]
        pair, top, own = white[..., :r], white[..., r:-q], white[..., -q:]
        root = root_of(torch.eye(q, dtype=own.dtype) + own.mT @ own, "effects of wells")
        lost = torch.linalg.solve_triangular(root, own.mT @ white[..., :-q], upper=False)
        flat, gone = top.flatten(0, 1), lost[..., r:].flatten(0, 1)
        gram = flat.T @ flat - gone.T @ gone
        across = pair.mT @ white[..., :-q] - lost[..., :r].mT @ lost
        pair_gram = self.pair_gram(across[..., :r], self.model.pair_of_cell[cell])
        count = self.covariance.shape[1]
        sums = torch.zeros(count + 1, r, top.shape[2], dtype=own.dtype)
        rows = self.model.pair_of_cell[cell] % (count + 1)
        sums = sums.index_add(0, rows, across[..., r:])[:count]
        mixed = sums.movedim(1, 0).flatten(0, 1)
        precision = torch.cat(
            [
                torch.cat([gram[:-1, :-1] + torch.eye(len(gram) - 1), mixed[:, :-1].T], dim=1),
                torch.cat([mixed[:, :-1], pair_gram], dim=1),
            ]
        )
        target = torch.cat([gram[:-1, -1], mixed[:, -1]])
        factor = root_of(precision, "all effects together")
        white_target = torch.linalg.solve_triangular(factor, target[:, None], upper=False)
        _, scale = self.noise(hyper)
        prior = -0.5 * ((hyper - self.prior_mean) / self.prior_sd).square().sum()
        found: Tensor = (
            prior
            - 0.5 * (gram[-1, -1] - white_target.square().sum())
            - torch.log(factor.diagonal()).sum()
            - torch.log(root.diagonal(dim1=1, dim2=2)).sum()
            - (torch.log(scale) * self.observed).sum()
        )
        return found

    def rescaled(self, point: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """``point`` ``(X,)`` with effects of plates as they are though their spreads change."""
        found = point.clone()
        for at, sd in self._plate:
            found[at] = point[at] * torch.exp(before[sd] - after[sd])
        return found

    def weigh(self, given: Given, point: Tensor) -> Tensor:
        """Weigh readings by how far they are off, and return hyper ``(H,)`` with the degrees of
        freedom that suit them best."""
        with torch.no_grad():
            z = given.innovations(point)
        place = self._names.index("noise_df")
        options = self.prior_mean[place] + self.prior_sd[place] * torch.linspace(-3, 3, 61).double()
        scored = []
        for option in options:
            df = LEAST_DF + torch.exp(option)
            constant = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - 0.5 * torch.log(df)
            density = constant - (df + 1) / 2 * torch.log1p(z.square() / df)
            prior = -0.5 * ((option - self.prior_mean[place]) / self.prior_sd[place]) ** 2
            scored.append(float((density * self.observed).sum() + prior))
        hyper = given.hyper.clone()
        hyper[place] = options[int(np.argmax(scored))]
        df = LEAST_DF + torch.exp(hyper[place])
        self.weights = (df + 1) / (df + z.square())
        law = torch.distributions.StudentT(df)
        heights: Tensor = law.log_prob(z)  # type: ignore[no-untyped-call]
        # What the Student-t density has above the weighted normal one that touches it at z.
        above = (heights + 0.5 * self.weights * z.square()) * self.observed
        self.bound = float(above.sum())
        return hyper

    def pair_gram(self, blocks: Tensor, pair: Tensor) -> Tensor:
        """Precision of all effects of pairs ``(R C, R C)`` from ``(N, R, R)`` of wells."""
        r, count = self.covariance.shape[:2]
        sums = torch.zeros(count + 1, r, r, dtype=blocks.dtype)
        sums = sums.index_add(0, pair % (count + 1), blocks)[:count]
        own = torch.eye(r, dtype=blocks.dtype)[:, :, None, None]
        inverse = torch.linalg.inv(self.covariance)
        full = torch.diag_embed(sums.permute(1, 2, 0)) + own * inverse[:, None]
        found: Tensor = full.permute(0, 2, 1, 3).reshape(r * count, r * count)
        return found

    def over_pairs(self, cells: Tensor) -> Tensor:
        """Sums over the cells of each dose pair, ``(..., M, R)`` to ``(..., R, C)``."""
        count = self.covariance.shape[1]
        shape = (*cells.shape[:-2], count + 1, cells.shape[-1])
        rows = self.model.pair_of_cell % (count + 1)
        found = torch.zeros(shape, dtype=cells.dtype).index_add(-2, rows, cells)
        return found[..., :count, :].movedim(-1, -2)

    def of_cells(self, pairs: Tensor) -> Tensor:
        """The other way: ``(..., R, C)`` to ``(..., M, R)``, 0 without drugs."""
        padded = torch.cat([pairs, torch.zeros_like(pairs[..., :1])], dim=-1)
        rows = self.model.pair_of_cell % padded.shape[-1]
        return padded.index_select(-1, rows).movedim(-2, -1)


class Given:
    """The density of the parameters given ``hyper``, slopes and weights, and what it leaves of the
    effects. Slopes are those of ``linear``, wherever the parameters are."""

    def __init__(self, marginal: PairMarginal, linear: Linear, hyper: Tensor) -> None:
        self.marginal, self.hyper = marginal, hyper
        self.offset_of_lines = linear.offset
        self._shift = (linear.by_pair @ linear.offset[..., None])[..., 0]
        model, t = marginal.model, marginal.values.shape[2]
        _, self.by_pair, by_well, self.size = marginal.scaled(linear, hyper)
        cell, count = model.cell, len(model.pair_of_cell)
        eye = torch.eye(len(self.size), dtype=hyper.dtype)
        one = eye.reshape(len(CHANNELS), t, -1).expand(len(cell), -1, -1, -1)
        white = marginal.whiten(one, hyper)
        own = white @ by_well[cell]
        unit = torch.eye(own.shape[2], dtype=own.dtype)
        self.by_well = by_well
        self.root_well = root_of(unit + own.mT @ own, "effects of wells")
        known = own.mT @ white
        lost = torch.linalg.solve_triangular(self.root_well, known, upper=False)
        self.to_well = torch.cholesky_solve(known, self.root_well)
        precision = white.mT @ white - lost.mT @ lost
        empty = torch.zeros(count, len(eye), len(eye), dtype=eye.dtype)
        self.precision = empty.index_add(0, cell, precision)
        pull = (precision @ marginal.values.flatten(1)[..., None])[..., 0]
        self.pull = torch.zeros_like(empty[..., 0]).index_add(0, cell, pull)
        self._factorise()

    def _factorise(self) -> None:
        """Precision of frames and effects of pairs together."""
        j = len(self.size)
        frames = self.size[:, None] * self.precision.sum(0) * self.size + torch.eye(j)
        seen = self.precision @ self.by_pair
        mixed = self.marginal.over_pairs((self.size[:, None] * seen).movedim(1, 0)).flatten(1)
        pairs = self.marginal.pair_gram(self.by_pair.mT @ seen, self.marginal.model.pair_of_cell)
        whole = torch.cat([torch.cat([frames, mixed], 1), torch.cat([mixed.T, pairs], 1)])
        self.root = root_of(whole, "frames and effects of pairs")

    def _pulled(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Precision times curves ``(K, M, J)``, and what pulls at frames and pairs, ``(K, U)``."""
        weighted = (self.precision @ found.movedim(0, 2)).movedim(2, 0)
        rest = self.pull - weighted
        pairs = self.marginal.over_pairs((self.by_pair.mT @ rest[..., None])[..., 0])
        return weighted, torch.cat([self.size * rest.sum(1), pairs.flatten(1)], dim=1)

    def expected(self, points: Tensor) -> Tensor:
        """Transformed curves ``(K, M, J)`` at standardised parameters ``(K, X)``."""
        model = self.marginal.model
        elements = self.marginal.elements(model.at(points, self.hyper), self.offset_of_lines)
        return model.expected(elements).flatten(2) - self._shift

    def offset(self, point: Tensor) -> Tensor:
        """Effects of pairs at cells ``(M, R)``, on elements, at parameters ``(X,)``."""
        with torch.no_grad():
            _, pairs, _ = self.effects(point[None], None)
        return self.marginal.of_cells(pairs)[0] * self.marginal.pair_spreads(self.hyper)

    def log_density(self, points: Tensor) -> Tensor:
        """log p(parameters, readings | hyper) up to a constant, ``(K,)`` nats."""
        found = self.expected(points)
        weighted, pulled = self._pulled(found)
        white = torch.linalg.solve_triangular(self.root, pulled.T, upper=False)
        fit = (found * (self.pull - 0.5 * weighted)).sum((1, 2)) + 0.5 * white.square().sum(0)
        total: Tensor = fit - 0.5 * points.square().sum(1)
        return total

    def slope_and_curvature(self, linear: Linear) -> tuple[Tensor, Tensor]:
        """Gradient ``(X,)`` of the log density at ``linear.point``, and minus its Hessian for
        straight lines ``(X, X)``, which is positive definite (Gauss & Newton)."""
        lines = linear.by_point.movedim(2, 0)
        weighted, seen = self._pulled(lines)
        _, pulled = self._pulled(self.expected(linear.point[None]))
        whole = torch.cat([self._pulled(torch.zeros_like(lines[:1]))[1] - seen, pulled])
        white = torch.linalg.solve_triangular(self.root, whole.T, upper=False)
        across, target = white[:, :-1], white[:, -1]
        rest = self.pull - self._pulled(self.expected(linear.point[None]))[0][0]
        slope = (lines * rest).sum((1, 2)) - across.T @ target - linear.point
        gram = lines.flatten(1) @ weighted.flatten(1).T - across.T @ across
        return slope, 0.5 * (gram + gram.T) + torch.eye(len(gram), dtype=gram.dtype)

    def effects(
        self, points: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Frames ``(K, J)``, effects of pairs ``(K, R, C)`` and of wells ``(K, N, Q)``, over their
        spreads, given parameters: a draw, or without ``generator`` the mean."""
        marginal = self.marginal
        found = self.expected(points)
        mean = torch.cholesky_solve(self._pulled(found)[1].T, self.root)
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
            mean = mean + torch.linalg.solve_triangular(self.root.mT, noise, upper=True)
        j, shape = len(self.size), marginal.covariance.shape[:2]
        frames, pairs = mean[:j].T, mean[j:].T.reshape(-1, *shape)
        cells = found + self.size * frames[:, None]
        cells = cells + (self.by_pair @ marginal.of_cells(pairs)[..., None])[..., 0]
        rest = marginal.values.flatten(1) - cells[:, marginal.model.cell]
        wells = (self.to_well @ rest[..., None])[..., 0]
        if generator is not None:
            noise = torch.randn(wells.shape, generator=generator, dtype=mean.dtype)
            wells = (
                wells
                + torch.linalg.solve_triangular(self.root_well.mT, noise[..., None], upper=True)[
                    ..., 0
                ]
            )
        return frames, pairs, wells

    def innovations(self, point: Tensor) -> Tensor:
        """Standardised residuals that are new at each reading, ``(N, 3, T)``, at ``(X,)``."""
        marginal, cell = self.marginal, self.marginal.model.cell
        frames, pairs, wells = self.effects(point[None], None)
        centre = self.expected(point[None]) + self.size * frames[:, None]
        centre = centre + (self.by_pair @ marginal.of_cells(pairs)[..., None])[..., 0]
        own = (self.by_well[cell] @ wells[0, ..., None])[..., 0]
        rest = (marginal.values.flatten(1) - centre[0, cell] - own).reshape_as(marginal.values)
        white = marginal.whiten(rest[..., None], self.hyper)[..., 0]
        found: Tensor = white.reshape_as(marginal.values) / torch.sqrt(marginal.weights)
        return found
