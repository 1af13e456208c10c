"""What a linear model of responses can learn from: complete averages of good conditions."""

from __future__ import annotations

import numpy as np

from models.perturbation.data import ResponseTable
from models.screen import ScreenError

MIN_CONDITIONS = 4
"""Treated conditions below which there is nothing to learn a spread from."""
MAX_CONDITIONS = 4000
MAX_READOUTS = 2000


def learnable(table: ResponseTable) -> ResponseTable:
    """Good rows averaged over replicates, sorted.

    Raises :class:`ScreenError` for counts, for missing values (naming where), for fewer than
    :data:`MIN_CONDITIONS` treated conditions, for tables too large for matrix algebra and for
    responses that are all 0.
    """
    if table.kind != "log_ratio":
        raise ScreenError(
            "this model learns from log ratios; give it the logarithm of treated over control"
        )
    rows = table.select(~table.low_quality).averaged()
    treated = int((~rows.is_control).sum())
    if treated < MIN_CONDITIONS:
        raise ScreenError(
            f"a response model needs at least {MIN_CONDITIONS} treated conditions, there are "
            f"{treated}"
        )
    if len(rows) > MAX_CONDITIONS or len(rows.readouts) > MAX_READOUTS:
        raise ScreenError(
            f"{len(rows)} conditions of {len(rows.readouts)} readouts are too many for this "
            f"model ({MAX_CONDITIONS} and {MAX_READOUTS}): keep the readouts that vary most"
        )
    missing = np.argwhere(np.isnan(rows.values))
    if len(missing):
        row, column = missing[0]
        raise ScreenError(
            f"the value of {rows.readouts[column]!r} in condition {rows.conditions[row]!r} is "
            f"missing (and {len(missing) - 1} others): leave out the readout or the condition"
        )
    if not np.any(rows.values):
        raise ScreenError("every response is 0: nothing was measured that a model could learn")
    return rows
