"""Measured time courses: series x channels x times, any of them missing.

A series is one well (or donor, or cell): several channels read at its own times. All series of a
table share the sorted union of their times; a reading that was not taken is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray, ScreenError


@dataclass(frozen=True)
class GroupFactor:
    """One way in which series belong together: plates, cell lines, batches, devices.

    ``name`` of the factor, ``labels`` of its groups (distinct), ``index`` ``(n,)`` int64: the
    group of each series. A label without series is allowed: a group seen before, or to come.
    """

    name: str
    labels: tuple[str, ...]
    index: IntArray

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ScreenError(f"factor {self.name!r} names a group twice")
        if self.index.ndim != 1 or self.index.dtype.kind != "i":
            raise ScreenError(f"factor {self.name!r} needs one whole-number index a series")
        if len(self.index) and not (0 <= self.index.min() <= self.index.max() < len(self.labels)):
            raise ScreenError(f"factor {self.name!r} has an index outside its {len(self.labels)}")

    @classmethod
    def of(cls, name: str, members: Sequence[str]) -> GroupFactor:
        """The factor whose labels are those of ``members`` (one a series), sorted."""
        labels, index = np.unique(np.asarray(members, dtype=str), return_inverse=True)
        return cls(name, tuple(labels.tolist()), index.astype(np.int64))

    def select(self, rows: IntArray | BoolArray) -> GroupFactor:
        """The same labels, the series at ``rows``."""
        return replace(self, index=self.index[rows])


@dataclass(frozen=True)
class TimeCourses:
    """``n`` series of ``c`` channels on the union grid of ``t`` times.

    ``times``: ``(t,)`` hours since the start of the experiment, ascending, not negative.
    ``values``: ``(n, c, t)`` readings in the unit the model works in, NaN where none was taken;
    each series has at least one. ``inputs``: ``(n, i)`` doses of what was done to each series,
    finite and not negative. ``names``: ``(n,)`` distinct. ``factors``: group memberships.
    """

    times: FloatArray
    values: FloatArray
    channels: tuple[str, ...]
    names: tuple[str, ...]
    inputs: FloatArray
    input_names: tuple[str, ...] = ()
    factors: tuple[GroupFactor, ...] = ()

    def __post_init__(self) -> None:
        _check_times(self.times)
        n = len(self.names)
        if self.values.shape != (n, len(self.channels), len(self.times)):
            raise ScreenError(
                f"values are {self.values.shape}, not {n} series x {len(self.channels)} channels x "
                f"{len(self.times)} times"
            )
        if self.inputs.shape != (n, len(self.input_names)):
            raise ScreenError(f"inputs are {self.inputs.shape}, not {n} x {len(self.input_names)}")
        if not np.all(np.isfinite(self.inputs)) or np.any(self.inputs < 0):
            raise ScreenError("inputs hold NaN, infinity or a negative dose")
        if np.any(np.isinf(self.values)):
            raise ScreenError("a reading is infinite: leave it out (NaN) or correct it")
        _require_distinct("channels", self.channels)
        _require_distinct("series", self.names)
        _require_distinct("factors", [factor.name for factor in self.factors])
        for factor in self.factors:
            if len(factor.index) != n:
                raise ScreenError(f"factor {factor.name!r} has {len(factor.index)} of {n} series")
        empty = np.flatnonzero(~self.observed.any(axis=(1, 2)))
        if len(empty):
            raise ScreenError(f"series {self.names[int(empty[0])]!r} has no reading at all")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def observed(self) -> BoolArray:
        """``(n, c, t)``: which readings were taken."""
        return ~np.isnan(self.values)

    def factor(self, name: str) -> GroupFactor:
        """The factor of this name; raises :class:`ScreenError` if there is none."""
        for factor in self.factors:
            if factor.name == name:
                return factor
        raise ScreenError(f"the time courses have no group factor {name!r}")

    def select(self, rows: IntArray | BoolArray) -> TimeCourses:
        """The series at ``rows``, on the same times and with the same group labels."""
        picked = np.arange(len(self))[rows]
        return replace(
            self,
            values=self.values[picked],
            names=tuple(self.names[i] for i in picked),
            inputs=self.inputs[picked],
            factors=tuple(factor.select(picked) for factor in self.factors),
        )


def from_ragged(
    series: Sequence[tuple[FloatArray, FloatArray]],
    channels: tuple[str, ...],
    names: tuple[str, ...],
    *,
    inputs: FloatArray | None = None,
    input_names: tuple[str, ...] = (),
    factors: tuple[GroupFactor, ...] = (),
) -> TimeCourses:
    """Series with times of their own, ``(times (t_n,), values (c, t_n))`` each, on their union.

    Two readings of one series at one time are refused: average them first.
    """
    for times, _ in series:
        _check_times(times)
    union = np.unique(np.concatenate([times for times, _ in series])) if series else np.zeros(0)
    values = np.full((len(series), len(channels), len(union)), np.nan)
    for row, (times, readings) in enumerate(series):
        if readings.shape != (len(channels), len(times)):
            raise ScreenError(f"series {names[row]!r} is not channels x its times")
        values[row][:, np.searchsorted(union, times)] = readings
    filled = np.zeros((len(series), 0)) if inputs is None else inputs
    return TimeCourses(union, values, channels, names, filled, input_names, factors)


def _check_times(times: FloatArray) -> None:
    if times.ndim != 1 or len(times) == 0 or not np.all(np.isfinite(times)):
        raise ScreenError("times need one row of finite hours")
    if times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ScreenError("times must ascend strictly and not be negative: hours since the start")


def _require_distinct(what: str, items: Iterable[str]) -> None:
    listed = list(items)
    if len(set(listed)) != len(listed):
        raise ScreenError(f"{what} are named twice")
