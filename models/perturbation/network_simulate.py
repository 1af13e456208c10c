"""Simulated interventions on a gene network whose edges and signs are known.

Expression settles where synthesis equals decay: x_h = s_h prod_g r_gh(x_g), with Hill curves
r = 1 - a + a x^n / (K^n + x^n) for activators and 1 - a x^n / (K^n + x^n) for repressors. Few
genes reach many others, as in real networks. Knock-outs stop synthesis, knock-downs halve it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.perturbation.interventions import InterventionTable, from_expression
from models.screen import FloatArray, IntArray, ScreenError

SETTLE_STEPS, SETTLE_RATE = 150, 0.3
KNOCK_DOWN = 0.5
HILL_POWERS = (1.0, 2.0, 2.0, 3.0, 4.0)
"""Each edge draws n of its Hill curve from these."""


@dataclass(frozen=True)
class SimulatedNetwork:
    """``table``: knock-outs, then knock-downs, of every gene. ``signs``: ``(g, g)`` of -1, 0, 1,
    regulators in rows."""

    table: InterventionTable
    signs: IntArray


def simulate_network(
    seed: int,
    *,
    n_genes: int = 100,
    n_controls: int = 11,
    noise: float = 0.06,
    regulators_per_gene: float = 1.8,
    hill_powers: tuple[float, ...] = HILL_POWERS,
) -> SimulatedNetwork:
    """One network and its responses; noise is normal with sd ``noise`` sqrt(x), never below 0."""
    if n_genes < 5 or not noise > 0 or not hill_powers:
        raise ScreenError("a simulated network needs 5 genes, noise above 0 and a Hill power")
    rng = np.random.default_rng(seed)
    signs = _draw_signs(rng, n_genes, regulators_per_gene)
    rates = np.vstack(
        [np.ones((1, n_genes)), 1 - np.eye(n_genes), 1 - KNOCK_DOWN * np.eye(n_genes)]
    )
    levels = _settle(rng, signs, rates, hill_powers)
    exact = np.vstack([np.repeat(levels[:1], n_controls, axis=0), levels[1:]])
    read = exact + noise * np.sqrt(exact) * rng.standard_normal(exact.shape)
    own = np.tile(np.eye(n_genes, dtype=bool), (2, 1))
    genes = tuple(f"G{i + 1}" for i in range(n_genes))
    read = np.maximum(read, 0.0)
    table = from_expression(genes, read[:n_controls], read[n_controls:], own)
    return SimulatedNetwork(table, signs)


def _draw_signs(rng: np.random.Generator, n: int, mean: float) -> IntArray:
    reach = np.zeros(n)
    regulators = rng.permutation(n)[: max(3, round(0.3 * n))]
    reach[regulators] = rng.pareto(1.0, len(regulators)) + 0.3
    signs = np.zeros((n, n), dtype=np.int64)
    for target in range(n):
        chance = np.where(np.arange(n) == target, 0.0, reach)
        count = min(int(rng.poisson(mean)), 6, int((chance > 0).sum()))
        chosen = rng.choice(n, count, replace=False, p=chance / chance.sum())
        signs[chosen, target] = np.where(rng.random(count) < 0.6, 1, -1)
    return signs


def _settle(
    rng: np.random.Generator, signs: IntArray, rates: FloatArray, powers: tuple[float, ...]
) -> FloatArray:
    n = len(signs)
    half = rng.uniform(0.05, 0.7, (n, n))
    power = rng.choice(np.array(powers), (n, n))
    depth = rng.uniform(0.5, 1.0, (n, n))
    synthesis = rates * rng.uniform(0.4, 1.0, n)
    x = 0.5 * synthesis
    edges = [np.flatnonzero(signs[:, target]) for target in range(n)]
    for _ in range(SETTLE_STEPS):
        made = synthesis.copy()
        for target, parents in enumerate(edges):
            if len(parents):
                h = x[:, parents] ** power[parents, target]
                h = h / (half[parents, target] ** power[parents, target] + h)
                a = depth[parents, target]
                made[:, target] *= np.where(
                    signs[parents, target] > 0, 1 - a + a * h, 1 - a * h
                ).prod(axis=1)
        x = x + SETTLE_RATE * (made - x)
    return x
