"""Models side by side: means over folds, and paired tests of what one gains over another.

Folds differ more than models do, so differences are taken fold by fold. Folds share training
blocks, which makes the plain t test too sure of itself; the corrected one widens it for the
overlap (Nadeau & Bengio 2003, section 3: variance times 1/K + n_test / n_train, with n_train
before any limit on it, as it stands for how much two training sets share). With five folds
no sign test can fall below p = 0.0625: five wins of five.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from models.bayes.forecast import number
from models.screen import FloatArray

PAIRED = ("pearson", "elpd")
MOST_FLIPS = 16
"""Folds up to which every assignment of signs is tried."""

Result = Mapping[str, Any]
"""One fold of one model, as :func:`models.evaluation.running.run_study` stores it."""


def summarise(results: Sequence[Result]) -> dict[str, Any]:
    """Plain means over folds of every number in ``scores``, ``seconds`` and ``noise_ceiling``, in
    the same nesting; ``None`` where any fold has none. ``sd``: between folds, of the headline
    numbers."""
    keys = ("scores", "seconds", "noise_ceiling")
    merged = {key: _mean([result[key] for result in results]) for key in keys}
    spread = {
        name: _spread([result["scores"][name] for result in results])
        for name in ("pearson", "spearman", "rmse", "elpd")
    }
    return {**merged, "sd": spread, "n_folds": len(results)}


def compare(first: Sequence[Result], second: Sequence[Result]) -> dict[str, Any]:
    """Paired tests of ``first`` minus ``second`` over the folds that both have, for Pearson and
    for the log density: see :func:`paired_tests`."""
    others = {result["fold"]: result for result in second}
    both = [(a, others[a["fold"]]) for a in first if a["fold"] in others]
    share = (
        float(np.mean([a["n_test"] / a["n_train_before_limit"] for a, _ in both])) if both else 0.0
    )
    return {
        name: paired_tests(
            [(a["scores"][name], b["scores"][name]) for a, b in both], test_to_train=share
        )
        for name in PAIRED
    }


def paired_tests(
    pairs: Sequence[tuple[float | None, float | None]], test_to_train: float
) -> dict[str, Any]:
    """``mean`` difference, ``wins`` of ``n`` folds, and two-sided p values: ``t``,
    ``corrected_t`` (for overlapping training sets), ``wilcoxon`` (exact where no ties) and
    ``sign_flip`` (exact permutation of signs). Folds where either has no number do not count;
    fewer than two leave only ``None``."""
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    d = np.array([a - b for a, b in known], dtype=np.float64)
    n = len(d)
    report: dict[str, Any] = {
        "n": n,
        "mean": number(float(d.mean())) if n else None,
        "wins": int((d > 0).sum()),
    }
    if n < 2:
        return {**report, "t": None, "corrected_t": None, "wilcoxon": None, "sign_flip": None}
    return {
        **report,
        "t": number(_t_test(d, 1 / n)),
        "corrected_t": number(_t_test(d, 1 / n + test_to_train)),
        "wilcoxon": _wilcoxon(d),
        "sign_flip": number(sign_flip(d)),
    }


def sign_flip(differences: FloatArray, resamples: int = 20_000) -> float:
    """P(|mean| at least as large) over all 2^n assignments of signs; above :data:`MOST_FLIPS`
    differences over ``resamples`` random ones (seed 0) and the one observed."""
    n = len(differences)
    if n <= MOST_FLIPS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(resamples, n))
        signs[0] = 1.0
    means = np.abs(signs @ differences)
    return float(np.mean(means >= abs(differences.sum()) * (1 - 1e-12)))


def _t_test(d: FloatArray, factor: float) -> float:
    """Two-sided p of mean / sqrt(factor * variance) on n - 1 degrees of freedom."""
    variance = float(d.var(ddof=1))
    if variance == 0:
        return 1.0 if d.mean() == 0 else 0.0
    t = abs(float(d.mean())) / math.sqrt(factor * variance)
    return float(2 * scipy.stats.t.sf(t, len(d) - 1))


def _wilcoxon(d: FloatArray) -> float | None:
    """Wilcoxon's signed-rank test; ``None`` where all differences are zero."""
    if not np.any(d):
        return None
    return number(float(scipy.stats.wilcoxon(d, method="exact" if np.all(d) else "auto").pvalue))


def _mean(values: Sequence[Any]) -> Any:
    """Element by element of equal nestings."""
    first = values[0]
    if isinstance(first, Mapping):
        return {key: _mean([value[key] for value in values]) for key in first}
    if isinstance(first, str):
        return first
    if any(value is None for value in values):
        return None
    return number(float(np.mean(values)))


def _spread(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return number(float(np.std(known, ddof=1))) if len(known) > 1 else None
