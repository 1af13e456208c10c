"""What a file of responses or time courses turned out to hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.perturbation.data import ResponseTable
from models.screen import FloatArray, IntArray


@dataclass(frozen=True)
class Found:
    """A table of responses; ``units`` of the doses, per perturbation; what was left aside.

    ``library``: ``(n,)`` molecules counted in each cell over all genes of the file, for counts.
    """

    table: ResponseTable
    units: tuple[str, ...]
    notes: tuple[str, ...] = ()
    library: FloatArray | None = None


@dataclass(frozen=True)
class Course:
    """One series: a well, or a condition averaged over wells."""

    name: str
    cell_line: str
    plate: str
    doses: tuple[float, ...]
    """In the order of the file's perturbations; 0 where absent."""


@dataclass(frozen=True)
class Courses:
    """Series of readings over time, in long form.

    ``series`` ``(n,)`` index into ``courses``, ``time_h`` ``(n,)``, ``values`` ``(n, c)`` with NaN
    where missing; sorted by series and time, no time twice in a series.
    """

    courses: tuple[Course, ...]
    channels: tuple[str, ...]
    perturbations: tuple[str, ...]
    units: tuple[str, ...]
    series: IntArray
    time_h: FloatArray
    values: FloatArray
    notes: tuple[str, ...] = ()

    def doses(self) -> FloatArray:
        """``(series, p)``."""
        rows = [course.doses for course in self.courses]
        return np.array(rows, np.float64).reshape(len(self.courses), len(self.perturbations))
