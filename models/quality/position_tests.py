"""Do rows, columns or the edge of a plate read differently: F tests within equal content."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.quality.neutral import NeutralWells
from models.quality.spread import MAD_TO_SD
from models.screen import FloatArray, IntArray

_ENOUGH_TO_ADJUST = 12
_FEWEST_FREEDOM = 3
_FAR = 3.0
_ROUNDS = 20


@dataclass(frozen=True)
class PositionEffect:
    """How much readings differ between places, and how likely chance alone does as much.

    ``ratio``: edge over interior, or, for a trend, the brightest over the dimmest fitted place (so
    never below 1). ``p_value``: of the F test. Both None where ``reason`` says why.
    """

    ratio: float | None
    p_value: float | None
    reason: str = ""


def axis_trend(wells: NeutralWells, axis: str) -> PositionEffect:
    """Linear and quadratic trend along ``axis`` ("row" or "column").

    The other axis is adjusted for where there are wells enough. The fit is Huber's, so that one
    bad well makes no trend.
    """
    along, across = (wells.row, wells.column) if axis == "row" else (wells.column, wells.row)
    columns = _polynomial(along)
    if wells.freedom >= _ENOUGH_TO_ADJUST:
        columns = np.concatenate([columns, _polynomial(across)], axis=1)
    tested = _polynomial(along).shape[1]
    if tested == 0:
        return PositionEffect(None, None, f"all wells of repeated content lie in one {axis}")
    found = _f_test(wells, columns, tested)
    if isinstance(found, str):
        return PositionEffect(None, None, found)
    fitted = columns[:, :tested] @ found[0]
    return PositionEffect(float(np.exp(np.ptp(fitted))), found[1])


def edge_effect(wells: NeutralWells) -> PositionEffect:
    """Signal of the outermost ring over that of the interior, wells of equal content compared."""
    if not wells.edge.any() or wells.edge.all():
        where = "inside" if not wells.edge.any() else "on the edge of"
        return PositionEffect(None, None, f"all wells of repeated content lie {where} the plate")
    found = _f_test(wells, wells.edge[:, None].astype(np.float64), 1)
    if isinstance(found, str):
        return PositionEffect(None, None, found)
    return PositionEffect(float(np.exp(found[0][0])), found[1])


def _polynomial(position: IntArray) -> FloatArray:
    """``(n, k)`` linear and quadratic terms, as many as the distinct positions bear."""
    if not len(position):
        return np.zeros((0, 0))
    low, high = float(position.min()), float(position.max())
    x = 2.0 * (position - low) / max(high - low, 1.0) - 1.0
    degree = min(len(np.unique(position)) - 1, 2)
    return np.stack([x, x**2], axis=1)[:, :degree]


def _f_test(
    wells: NeutralWells, columns: FloatArray, tested: int
) -> tuple[FloatArray, float] | str:
    """Coefficients ``(tested,)`` of the first columns and the p-value of their joint F test.

    Words instead, where the wells cannot tell. Every group has a level of its own; the remaining
    columns are adjusted for.
    """
    inside = wells.within(columns)
    rank, rank_rest = (_rank(matrix) for matrix in (inside, inside[:, tested:]))
    if rank - rank_rest < tested:
        return "position and content of the wells cannot be told apart"
    freedom = wells.freedom - rank
    if freedom < _FEWEST_FREEDOM:
        return f"{len(wells)} wells of repeated content are too few"
    y = _drawn_in(wells, inside, float(np.sqrt(len(wells) / freedom)))
    coefficients, full = _least_squares(inside, y)
    _, reduced = _least_squares(inside[:, tested:], y)
    if full <= 1e-24 * float(y @ y) or full == 0.0:
        return "wells of equal content read exactly alike, so there is no noise to compare with"
    ratio = max(reduced - full, 0.0) / tested / (full / freedom)
    return coefficients[:tested], float(stats.f.sf(ratio, tested, freedom))


def _drawn_in(wells: NeutralWells, inside: FloatArray, inflate: float) -> FloatArray:
    """``(n,)`` log signals within groups whose residuals from the fit end at ``_FAR`` robust sd.

    Huber's pseudo-values (Huber 1981, 7.8): least squares on them is the robust fit.
    """
    solver = np.linalg.pinv(inside)
    y = original = wells.within(wells.log_signal)
    for _ in range(_ROUNDS):
        fitted = inside @ (solver @ y)
        residual = original - fitted
        residual = residual - wells.medians(residual)
        reach = _FAR * MAD_TO_SD * inflate * float(np.median(np.abs(residual)))
        if reach == 0.0:
            break
        y = wells.within(fitted + np.clip(residual, -reach, reach))
    return y


def _rank(matrix: FloatArray) -> int:
    return int(np.linalg.matrix_rank(matrix)) if matrix.size else 0


def _least_squares(columns: FloatArray, y: FloatArray) -> tuple[FloatArray, float]:
    if columns.shape[1] == 0:
        return np.zeros(0), float(y @ y)
    solution = np.asarray(np.linalg.lstsq(columns, y, rcond=None)[0], dtype=np.float64)
    return solution, float(np.sum((y - columns @ solution) ** 2))
