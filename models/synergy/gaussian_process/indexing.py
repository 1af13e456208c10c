"""Reading blocks out of tables of compounds and lines."""

from __future__ import annotations

from torch import Tensor


def pick_columns(matrix: Tensor, index: Tensor) -> Tensor:
    """``(r, m)`` columns of ``(r, n)``."""
    return matrix.index_select(1, index)


def gather(matrix: Tensor, rows: Tensor, at: Tensor) -> Tensor:
    """``(len(rows), len(at))`` entries."""
    return matrix.index_select(0, rows).index_select(1, at)


def symmetric_product(left: Tensor, right: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """``left[:, c] * right[:, d] + left[:, d] * right[:, c]``."""
    straight = pick_columns(left, c) * pick_columns(right, d)
    return straight + pick_columns(left, d) * pick_columns(right, c)
