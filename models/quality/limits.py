"""The limits that a plate is judged by: editable data with a source for every default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from models.screen import ScreenError


@dataclass(frozen=True)
class Limit:
    """Where a figure warns and where it fails; None switches that level off."""

    warn: float | None
    fail: float | None


HIGHER_IS_WORSE = {
    "robust_ssmd": False,
    "robust_z_prime": False,
    "signal_to_background": False,
    "vehicle_wells": False,
    "robust_cv_vehicle": True,
    "edge": True,
    "trend": True,
    "replicate_sd": True,
    "drift": True,
    "missing": True,
    "outliers": True,
}
"""Every limit of :class:`QcLimits` and the direction that it guards."""


@dataclass(frozen=True)
class QcLimits:
    """Limits of one laboratory. Fractions, not percent.

    ``robust_z_prime``: above 0.5 excellent, 0 to 0.5 usable with care, below 0 no assay (Zhang,
    Chung and Oldenburg 1999). Robust forms are judged, because single bad wells are flagged by
    themselves. ``robust_ssmd``: its size; 3 and 2 are "good" and "poor" for a very strong control
    (Zhang 2008). ``signal_to_background``, ``replicate_sd``, ``missing``: house values.
    ``robust_cv_vehicle``: 0.20 is the most that the NCATS Assay Guidance Manual accepts, 0.15 a
    house value. ``outliers``: share of the compared wells that look wrong, counted from two wells
    on: house value. ``edge``, ``trend``,
    ``drift``: change as a fraction (viability for ``drift``), counted only where its p-value is
    below ``p_value``: house values. ``vehicle_wells``: usable ones, at least; below three no
    spread of the controls can be told.
    """

    robust_z_prime: Limit = Limit(0.5, 0.0)
    robust_ssmd: Limit = Limit(3.0, 2.0)
    signal_to_background: Limit = Limit(3.0, 1.5)
    robust_cv_vehicle: Limit = Limit(0.15, 0.20)
    edge: Limit = Limit(0.10, 0.30)
    trend: Limit = Limit(0.15, 0.50)
    replicate_sd: Limit = Limit(0.12, 0.25)
    drift: Limit = Limit(0.10, 0.20)
    missing: Limit = Limit(0.02, 0.20)
    outliers: Limit = Limit(0.03, 0.20)
    vehicle_wells: Limit = Limit(8.0, 3.0)
    p_value: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 < self.p_value < 1.0:
            raise ScreenError(f"p_value is {self.p_value}, expected between 0 and 1")
        for name, higher in HIGHER_IS_WORSE.items():
            limit = getattr(self, name)
            for number in (limit.warn, limit.fail):
                if number is not None and not np.isfinite(number):
                    raise ScreenError(f"the limit of {name} is {number}; null switches it off")
            if limit.warn is None or limit.fail is None or limit.warn == limit.fail:
                continue
            if (limit.fail > limit.warn) != higher:
                raise ScreenError(
                    f"the limits of {name} are the wrong way round: warn {limit.warn:g}, "
                    f"fail {limit.fail:g}"
                )

    def to_dict(self) -> dict[str, Any]:
        """``{"edge": {"warn": 0.1, "fail": 0.3}, ..., "p_value": 0.01}``."""
        limits = {name: getattr(self, name) for name in HIGHER_IS_WORSE}
        table: dict[str, Any] = {k: {"warn": v.warn, "fail": v.fail} for k, v in limits.items()}
        return {**table, "p_value": self.p_value}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> QcLimits:
        """Limits from plain data; what is not named keeps its default.

        Raises :class:`ScreenError` for unknown names, wrong types and limits the wrong way round.
        """
        unknown = sorted(set(table) - {field.name for field in fields(cls)})
        if unknown:
            raise ScreenError(f"there are no limits named {', '.join(unknown)}")
        given = {k: _limit(k, v) for k, v in table.items() if k != "p_value"}
        default = cls()
        every = {name: given.get(name, getattr(default, name)) for name in HIGHER_IS_WORSE}
        p_value = _number("p_value", table.get("p_value", default.p_value))
        if p_value is None:
            raise ScreenError("p_value cannot be switched off")
        return cls(**every, p_value=p_value)


def _limit(name: str, entry: object) -> Limit:
    if not isinstance(entry, Mapping) or set(entry) != {"warn", "fail"}:
        raise ScreenError(f"the limit of {name} needs exactly 'warn' and 'fail'")
    return Limit(_number(name, entry["warn"]), _number(name, entry["fail"]))


def _number(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScreenError(f"the limit of {name} is {value!r}, expected a number or null")
    return float(value)
