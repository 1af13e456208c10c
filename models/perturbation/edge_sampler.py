"""Gibbs sampling of a sparse signed network from interventions.

For condition i and gene h that is not itself targeted there, in the units of
:mod:`models.perturbation.edge_design`:

    y_ih = sum_g b_gh x_ig + e_ih,   e_ih ~ N(0, 1 + c_ih),
    c_ih = PSI + sum_g (TAU b_gh x_ig min(|1 + x_ig|, CAP))^2,
    b_gh = 0 with probability 1 - pi_g, else N(0, s^2),  pi_g ~ Beta(A, A (1 / mean - 1)),

x_ig is the true response of gene g: known where i acts on g, else latent, read as N(x_ig, sd_g^2)
and expected where its own regulators put it, N(sum_k b_kg x_ik, c_ig), or with probability RHO
anywhere near. So an effect of i on h that passes through g is charged to g even where g moved
less than its own noise, and many small true responses add up. c is the bend of a response curve:
nothing at no response and at the full push, where the straight line is right by definition, most
in between and beyond. An edge needs more than a straight line's misfit, so indirect effects do
not turn into edges. Regulators differ in how many genes they reach (pi_g).

What a gene does where it rises cannot be told from its being switched off. A gene that some
intervention raises by RAISED pushes therefore has a second effect, of its rise as part of its
highest: same edge, same sign, own size, bend nothing at no and at the highest rise. Without it,
what a raised gene does is charged to whatever raised it; with it, edges of the raising gene are
doubted too often where the straight line is right. Every second chain has it.

The regression uses the reading y_ih, not the latent response of h: it is a composite likelihood
(Varin, Reid, Firth 2011), so its probabilities are calibrated afterwards, not trusted. Chains
start apart and are averaged, since two genes that move together can trade places and one chain
seldom sees both. Spike and slab: George, McCulloch 1993; Mitchell, Beauchamp 1988.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from models.perturbation.edge_design import Design, rises
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)

TAU, CAP, PSI = 1.0, 2.0, 0.02
"""Fixed: learned from the data, TAU takes up every other misfit and rises until nothing passes."""
RHO, NEAR = 0.02, 0.2
"""Probability of a response that no edge explains, and its standard deviation in pushes."""
RHO_LOGIT = float(logit(RHO))
PI, A = 0.02, 0.3
"""First share of edges; shape of the prior of a regulator's share."""
SLAB, SLAB_SHAPE = 25.0, 2.0
"""Prior of s^2: inverse gamma with this shape, and twice this as scale."""
LONE_SWEEPS = 25
"""Sweeps before regulators may differ, so that no chain starts with a favourite."""
TINY = 1e-6


@dataclass(frozen=True)
class SamplerSettings:
    """``chains`` are averaged; each makes ``sweeps``, of which the first ``burn`` are dropped."""

    chains: int = 4
    sweeps: int = 90
    burn: int = 45

    def __post_init__(self) -> None:
        if self.chains < 1 or not 0 <= self.burn < self.sweeps:
            raise ScreenError("sampling needs a chain, and more sweeps than are dropped")


@dataclass(frozen=True)
class EdgeSamples:
    """What sampling found; all ``(g, g)``, regulators in rows, the diagonal 0.

    ``probability`` of an edge, ``mean`` effect (0 where absent), ``positive``: probability that
    there is an edge and b > 0; ``draws``: ``(2, g, g)`` of the last
    sweep of each chain: effects of falls (of all responses, where a gene never rises), of rises.
    """

    probability: FloatArray
    mean: FloatArray
    positive: FloatArray
    draws: tuple[FloatArray, ...]


class _Part:
    """What is known of the effects ``(g,)`` of one regulator's falls, or of its rises."""

    def __init__(
        self, x: FloatArray, loud: FloatArray, squares: FloatArray, b: FloatArray, slab: float
    ) -> None:
        score = loud @ x + squares * b
        precision = squares + 1 / slab
        self.centre, self.sd = score / precision, 1 / np.sqrt(precision)
        self.evidence = 0.5 * (score * self.centre - np.log(slab * precision))
        self.positive = ndtr(self.centre / self.sd)

    def draw(self, at: IntArray, sign: FloatArray | None, rng: np.random.Generator) -> FloatArray:
        """Effects at some genes; of these signs, if given."""
        centre, sd = self.centre[at], self.sd[at]
        if sign is None:
            return np.asarray(centre + sd * rng.standard_normal(len(at)))
        room = ndtr(sign * centre / sd)
        below = 1 - room + room * rng.random(len(at))
        return np.asarray(centre + sign * sd * ndtri(np.clip(below, 1e-12, 1 - 1e-12)))


class _Chain:
    """State of one chain. Matrices of conditions are ``(g, n)`` here: genes lie together."""

    def __init__(self, design: Design, rise: FloatArray, rng: np.random.Generator) -> None:
        g = design.x.shape[1]
        self.rng = rng
        self.x, self.y = design.x.T.copy(), design.y.T.copy()
        self.read, self.free = design.read.T.copy(), design.free.T.copy()
        self.x_sd = design.x_sd[:, None]
        self.rise, self.raised = rise, np.flatnonzero(rise)
        self.b, self.edge = np.zeros((g, g)), np.zeros((g, g), dtype=bool)
        self.up = np.zeros((g, g))
        self.pi, self.slab = np.full(g, PI), SLAB
        self.sums = np.zeros((3, g, g))

    def inputs(self) -> tuple[FloatArray, FloatArray]:
        """``(g, n)`` responses, of raised genes where they fall; ``(r, n)`` rises of raised genes,
        as part of the highest."""
        low, rise = self.x.copy(), self.rise[self.raised, None]
        low[self.raised] = np.minimum(low[self.raised], 0.0)
        return low, np.maximum(self.x[self.raised], 0.0) / rise

    def bend(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """c of the module's text; ``(g, n)``."""
        fall = low * np.minimum(np.abs(1 + low), CAP)
        rise = high * np.minimum(np.abs(1 - high), CAP)
        squares = (self.b**2).T @ fall**2 + (self.up[self.raised] ** 2).T @ rise**2
        return np.asarray(PSI + TAU**2 * squares)

    def residual(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """``(g, n)`` readings less what edges explain."""
        return np.asarray(self.y - self.b.T @ low - self.up[self.raised].T @ high)

    def sweep_effects(self, keep: bool) -> None:
        """Draw every gene's edges and their effects, a regulator at a time in random order,
        given responses and priors; ``keep``: add chances and means of effects to the sums."""
        low, high = self.inputs()
        weight = self.free / (1 + self.bend(low, high))
        loud = weight * self.residual(low, high)
        squares, above = low**2 @ weight.T, high**2 @ weight.T
        place = {j: r for r, j in enumerate(self.raised.tolist())}
        g = len(self.pi)
        threshold = logit(self.rng.random((g, g)))
        for j in self.rng.permutation(g).tolist():
            fall = _Part(low[j], loud, squares[j], self.b[j], self.slab)
            odds = logit(self.pi[j]) + fall.evidence
            positive = fall.positive
            if j in place:
                r = place[j]
                rise = _Part(high[r], loud, above[r], self.up[j], self.slab)
                both, neither = positive * rise.positive, (1 - positive) * (1 - rise.positive)
                odds += rise.evidence + np.log(2 * (both + neither) + TINY)
                positive = (both + TINY) / (both + neither + 2 * TINY)
            odds[j] = -np.inf
            if keep:
                chance = expit(odds)
                self.sums[:, j] += chance, chance * fall.centre, chance * positive
            edge = odds > threshold[j]
            moved = np.flatnonzero(edge | self.edge[j])
            if not len(moved):
                continue
            self.edge[j] = edge
            sign = None
            if j in place:
                sign = np.where(self.rng.random(len(moved)) < positive[moved], 1.0, -1.0)
                new = np.where(edge[moved], rise.draw(moved, sign, self.rng), 0.0)
                step = (new - self.up[j, moved])[:, None] * high[r]
                self.up[j, moved] = new
                loud[moved] -= step * weight[moved]
            new = np.where(edge[moved], fall.draw(moved, sign, self.rng), 0.0)
            loud[moved] -= (new - self.b[j, moved])[:, None] * low[j] * weight[moved]
            self.b[j, moved] = new

    def sweep_responses(self) -> None:
        """Draw what the genes' responses were before the noise of reading, given edges and
        effects."""
        low, high = self.inputs()
        bend = self.bend(low, high)
        weight = self.free / (1 + bend)
        residual = self.residual(low, high)
        reaches = self.edge.any(axis=1)
        for j in self.rng.permutation(np.flatnonzero(reaches)):
            out = np.flatnonzero(self.edge[j])
            slope, w = self.slopes(j, out, self.x[j]), weight[out]
            old = slope * self.x[j]
            heard = (slope**2 * w).sum(axis=0)
            pull = (slope * (residual[out] + old) * w).sum(axis=0)
            one = slice(j, j + 1)
            new = self._draw_responses(one, heard[None], pull[None], residual[one], bend[one])[0]
            residual[out] -= self.slopes(j, out, new) * new - old
            self.x[j] = new
        # Responses of genes that reach no other do not depend on one another.
        last = np.flatnonzero(~reaches)
        nothing = np.zeros((len(last), 1))
        self.x[last] = self._draw_responses(last, nothing, nothing, residual[last], bend[last])

    def slopes(self, j: int, out: IntArray, x: FloatArray) -> FloatArray:
        """``(len(out), n)`` effects per push of gene j where it responds by x."""
        b = self.b[j, out][:, None]
        if not self.rise[j]:
            return np.asarray(b)
        return np.asarray(np.where(x < 0, b, self.up[j, out][:, None] / self.rise[j]))

    def _draw_responses(
        self,
        genes: slice | IntArray,
        heard: FloatArray,
        pull: FloatArray,
        residual: FloatArray,
        bend: FloatArray,
    ) -> FloatArray:
        """New rows of x; ``heard`` and ``pull``: precision of what the targets say, and its sum."""
        variance = self.x_sd[genes] ** 2
        heard = heard + 1 / variance
        pull = pull + self.read[genes] / variance
        expected = (self.y[genes] - residual) * self.x_sd[genes]
        near, far = variance * bend, variance * bend + NEAR**2
        odds = (
            RHO_LOGIT + _height(heard, pull, expected, far) - _height(heard, pull, expected, near)
        )
        v = np.where(self.rng.random(odds.shape) < expit(odds), far, near)
        total = heard + 1 / v
        new = (pull + expected / v) / total
        new += self.rng.standard_normal(new.shape) / np.sqrt(total)
        return np.where(self.free[genes], new, self.x[genes])

    def update_priors(self, sweep: int) -> None:
        """Draw each gene's share of edges, after the first sweeps, and the common size of
        effects."""
        g, count = len(self.pi), self.edge.sum(axis=1)
        if sweep >= LONE_SWEEPS:
            share = max(count.sum() / g**2, 1e-4)
            drawn = self.rng.beta(A + count, A * (1 / share - 1) + g - 1 - count)
            self.pi = TINY + (1 - 2 * TINY) * drawn
        scale = 2 * SLAB + 0.5 * float((self.b**2).sum() + (self.up**2).sum())
        self.slab = scale / self.rng.gamma(
            SLAB_SHAPE + 0.5 * (count.sum() + count[self.raised].sum())
        )


def _height(heard: FloatArray, pull: FloatArray, expected: FloatArray, v: FloatArray) -> FloatArray:
    """Log density of what was heard when the response is N(expected, v), but for a constant."""
    fit = (pull + expected / v) ** 2 / (heard + 1 / v) - expected**2 / v
    return np.asarray(0.5 * (fit - np.log(v * heard + 1)))


def sample_edges(
    design: Design,
    settings: SamplerSettings,
    *,
    seed: int,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
    stage: str = "edges",
) -> EdgeSamples:
    """Average over chains started apart; ``seed`` decides all.

    About 10 ms a sweep for 200 conditions x 100 genes on one core; grows with conditions x
    genes^2. Raises :class:`Stopped` when asked to.
    """
    total = np.zeros((3, len(design.x_sd), len(design.x_sd)))
    draws: list[FloatArray] = []
    highest = rises(design)
    steps = settings.chains * settings.sweeps
    for chain, source in enumerate(np.random.SeedSequence(seed).spawn(settings.chains)):
        state = _Chain(design, highest * (chain % 2 == 0), np.random.default_rng(source))
        for sweep in range(settings.sweeps):
            if should_stop():
                raise Stopped
            on_progress(stage, chain * settings.sweeps + sweep, steps)
            state.sweep_effects(keep=sweep >= settings.burn)
            state.update_priors(sweep)
            state.sweep_responses()
        total += state.sums / (settings.sweeps - settings.burn)
        up = state.up if chain % 2 == 0 else state.b * highest[:, None]
        draws.append(np.stack([state.b, up]))
    on_progress(stage, steps, steps)
    probability, mean, positive = total / settings.chains
    return EdgeSamples(probability, mean, positive, tuple(draws))
