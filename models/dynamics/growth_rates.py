"""Growth-rate metrics with their posterior, and viability without plate effects.

GR compares rates, so that it depends neither on how fast the cells divide nor on how long the
experiment lasts (Hafner, Niepel, Chung & Sorger 2016, Nat. Methods 13, 521):

    GR = 2^(log2(x / x0) / log2(x_control / x0)) - 1,

1 without effect, 0 for full arrest, negative where cells are lost. With dead cells counted, it is
taken apart (definitions of Clark et al. 2017, BMC Cancer 17, 698, in rates): for constant division
and death, r_s = (1 + dD / (x - x0)) log2(x / x0) / T and r_t = dD / (x - x0) log2(x / x0) / T, and
static GR = 2^(r_s / r_s of control) - 1, toxic GR = 2^((r_t of control - r_t) a day) - 1 (so, too,
the authors' gr50).

All functions take draws along the first axes and broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.integrate

from models.dynamics.pair_posterior import DrugPairPosterior
from models.screen import FloatArray, ScreenError

HOURS_A_DAY = 24.0


def gr_value(final: FloatArray, start: FloatArray, control: FloatArray) -> FloatArray:
    """GR from cells at the end, at the start, and at the end without drug; all above 0.

    Raises :class:`ScreenError` if a count is not above 0 or the control has not grown.
    """
    _require_counts(final, start, control)
    if np.any(control <= start):
        raise ScreenError("the control has not grown: growth-rate metrics have no meaning")
    return np.asarray(np.exp2(np.log(final / start) / np.log(control / start)) - 1)


def division_and_death(
    final: FloatArray, start: FloatArray, died: FloatArray, hours: float
) -> tuple[FloatArray, FloatArray]:
    """Constant rates of division and death an hour that make ``start`` cells ``final`` while
    ``died`` die. Raises :class:`ScreenError` for counts or hours not above 0."""
    _require_counts(final, start)
    if np.any(died < 0) or not hours > 0:
        raise ScreenError("cells that died must be >= 0 and the time above 0 hours")
    change = final / start - 1
    still = np.abs(change) < 1e-8
    safe = np.where(still, 1.0, change)
    # ln(x / x0) / (x - x0), which is 1 / x0 where the count has not changed.
    factor = np.where(still, 1 - change / 2, np.log1p(safe) / safe) / start
    death = died * factor / hours
    return np.asarray(np.log(final / start) / hours + death), np.asarray(death)


def static_toxic_gr(
    final: FloatArray,
    start: FloatArray,
    died: FloatArray,
    control: FloatArray,
    control_died: FloatArray,
    hours: float,
) -> tuple[FloatArray, FloatArray]:
    """Static and toxic GR; see the module. Raises :class:`ScreenError` as its parts do."""
    division, death = division_and_death(final, start, died, hours)
    usual_division, usual_death = division_and_death(control, start, control_died, hours)
    if np.any(usual_division <= 0):
        raise ScreenError("the control does not divide: growth-rate metrics have no meaning")
    static = np.exp2(division / usual_division) - 1
    # Powers of 2 of rates by log2 are powers of e of the rates themselves.
    return static, np.asarray(np.expm1((usual_death - death) * HOURS_A_DAY))


def _require_counts(*counts: FloatArray) -> None:
    if any(not np.all(np.isfinite(c)) or np.any(np.asarray(c) <= 0) for c in counts):
        raise ScreenError("numbers of cells must be finite and above 0")


@dataclass(frozen=True)
class GrMetrics:
    """Draws ``(S,)`` of one drug: ``gr50`` (the unit of the doses; infinite if GR stays above
    0.5), ``gr_max`` at the highest dose, ``aoc`` mean of 1 - GR over log dose; and GR itself,
    static and toxic, ``(S, m)`` at ``doses`` ``(m,)``."""

    doses: FloatArray
    gr: FloatArray
    static: FloatArray
    toxic: FloatArray
    gr50: FloatArray
    gr_max: FloatArray
    aoc: FloatArray


def gr50_of(doses: FloatArray, gr: FloatArray) -> FloatArray:
    """First dose at which each curve ``(S, m)`` falls to 0.5, linear in log dose; ``(S,)``.

    Infinite where it never does; the lowest dose where it starts below. Raises
    :class:`ScreenError` unless doses ascend above 0.
    """
    if np.any(doses <= 0) or np.any(np.diff(doses) <= 0) or gr.shape[-1] != len(doses):
        raise ScreenError("doses must ascend above 0, one for each value of a curve")
    below = gr <= 0.5
    first = below.argmax(axis=1)
    left = np.maximum(first - 1, 0)
    rows = np.arange(len(gr))
    high, low = gr[rows, left], gr[rows, first]
    share = np.where(first > 0, (high - 0.5) / np.where(first > 0, high - low, 1.0), 0.0)
    logs = np.log(doses)
    crossed = np.exp(logs[left] + share * (logs[first] - logs[left]))
    return np.where(below.any(axis=1), crossed, np.inf)


def gr_metrics(
    posterior: DrugPairPosterior, drug: str, doses: FloatArray, hours: float | None = None
) -> GrMetrics:
    """Posterior of the GR metrics of one drug of the pair, from the dose surface on a plate
    without effects of its own; ``hours`` default the length of the experiment.

    Raises :class:`ScreenError` for a drug that is not of the pair or doses that do not ascend.
    """
    if drug not in posterior.input_names:
        raise ScreenError(f"{drug!r} is not among {posterior.input_names}")
    given = np.zeros((len(doses) + 1, 2))
    given[1:, posterior.input_names.index(drug)] = doses
    end = float(posterior.model.times[-1]) if hours is None else hours
    alive, dead = posterior.living(given, np.array([0.0, end]), level="surface")
    start, final, died = alive[:, 1:, 0], alive[:, 1:, 1], dead[:, 1:, 1]
    control, control_died = alive[:, :1, 1], dead[:, :1, 1]
    gr = gr_value(final, start, np.broadcast_to(control, final.shape))
    static, toxic = static_toxic_gr(final, start, died, control, control_died, end)
    fifty = gr50_of(doses, gr)
    logs = np.log(doses)
    aoc = (
        np.trapezoid(1 - gr, logs, axis=1) / (logs[-1] - logs[0])
        if len(doses) > 1
        else 1 - gr[:, 0]
    )
    return GrMetrics(doses, gr, static, toxic, fifty, gr[:, -1], aoc)


@dataclass(frozen=True)
class Viability:
    """Viability of dose pairs, 1 without drugs: ``doses`` ``(m, 2)`` in the order of ``drugs``,
    posterior ``mean`` and ``sd`` ``(m,)``, and all ``draws`` ``(S, m)``."""

    drugs: tuple[str, str]
    doses: FloatArray
    mean: FloatArray
    sd: FloatArray
    draws: FloatArray


def plate_corrected_viability(
    posterior: DrugPairPosterior,
    doses: FloatArray | None = None,
    *,
    by: Literal["auc", "end"] = "auc",
    seed: int = 0,
) -> Viability:
    """Living cells at ``doses`` (default: all of the experiment, once each) over living cells
    without drugs, on one and the same plate without effects of its own: by the area under the
    curve (``auc``) or at the ``end``.
    """
    series = posterior.model.data.series
    asked = np.unique(series.inputs, axis=0) if doses is None else np.asarray(doses, np.float64)
    given = np.concatenate([np.zeros((1, 2)), asked])
    times = np.linspace(0.0, float(series.times[-1]), 49)
    alive, _ = posterior.living(given, times, seed=seed)
    total = scipy.integrate.simpson(alive, x=times, axis=2) if by == "auc" else alive[:, :, -1]
    draws = total[:, 1:] / total[:, :1]
    draws[:, ~asked.any(axis=1)] = 1.0
    spread = draws.std(axis=0, ddof=1)
    return Viability(posterior.input_names, asked, draws.mean(axis=0), spread, draws)
