"""What every acquisition asks of the draws before it looks at them."""

from __future__ import annotations

import numpy as np

from models.bayes.predictive import Noise
from models.screen import FloatArray


class AcquisitionError(ValueError):
    """Draws that no acquisition may see, or a question that lacks a part."""


def require_draws(draws: FloatArray, least: int = 2) -> FloatArray:
    """``draws`` ``(n, m)`` as float64, checked: finite, ``n >= least``."""
    if draws.ndim != 2:
        raise AcquisitionError(f"draws have shape {draws.shape}, expected (n, m)")
    if draws.shape[0] < least:
        raise AcquisitionError(
            f"{draws.shape[0]} draw(s) say nothing about uncertainty; need {least}"
        )
    if not np.all(np.isfinite(draws)):
        raise AcquisitionError("draws hold NaN or infinity; no candidate can be ranked by them")
    return np.asarray(draws, dtype=np.float64)


def require_noise(noise: Noise | None, m: int) -> Noise:
    """The noise of a measurement of ``m`` candidates, checked: given, finite, positive."""
    if noise is None:
        raise AcquisitionError("this acquisition needs the noise of a measurement")
    if noise.scale.shape != (m,):
        raise AcquisitionError(f"the noise has shape {noise.scale.shape}, expected ({m},)")
    if not (np.all(np.isfinite(noise.scale)) and np.all(noise.scale > 0)):
        raise AcquisitionError("the noise of a measurement must be positive")
    return noise


def require_number(name: str, value: float | None, least: float = -np.inf) -> float:
    """A finite number that is not below ``least``."""
    if value is None or not np.isfinite(value):
        raise AcquisitionError(f"{name} is {value}, expected a number")
    if value < least:
        raise AcquisitionError(f"{name} is {value}, expected at least {least:g}")
    return float(value)
