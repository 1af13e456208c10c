"""A small simulated screen: twelve perturbations, all pairs, bilinear interactions."""

from __future__ import annotations

import itertools

import numpy as np

from models.perturbation.data import ResponseTable


def screen(
    seed: int = 0,
    p: int = 8,
    g: int = 12,
    noise: float = 0.1,
    interaction: float = 0.0,
    pairs: bool = True,
) -> tuple[ResponseTable, np.ndarray]:
    """The table and the noise-free truth ``(n, g)``. Effects live in three directions; the
    interaction of two is a fixed bilinear form of both effects."""
    rng = np.random.default_rng(seed)
    scores, loadings = rng.normal(size=(p, 3)), rng.normal(size=(3, g))
    form = rng.normal(size=(3, 3, g)) * interaction
    form = form + form.transpose(1, 0, 2)
    rows = [((k,), d) for k in range(p) for d in (1.0, 1.5)]
    rows += [(pair, 1.0) for pair in itertools.combinations(range(p), 2)] if pairs else []
    doses, truth, names = [], [], []
    for present, dose in rows:
        x = np.zeros(p)
        x[list(present)] = dose
        value = x @ scores @ loadings
        if len(present) == 2:
            value = value + np.einsum("r,s,rsg->g", *scores[list(present)], form)
        doses.append(x)
        truth.append(value)
        names.append("+".join(f"d{k}" for k in present) + f"@{dose}")
    values = np.array(truth) + noise * rng.normal(size=(len(rows), g))
    table = ResponseTable.of(
        perturbations=[f"d{k}" for k in range(p)],
        readouts=[f"g{k}" for k in range(g)],
        conditions=names,
        doses=np.array(doses),
        values=values,
    )
    return table, np.array(truth)
