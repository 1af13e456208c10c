"""Counts of cells over time: a long table, a row per well and time, whole numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.chemistry.names import fold_name
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.sources import Source
from service.datasets.reading.courses_table import read_courses
from service.datasets.reading.found import Courses

NAME = "cell counts"
FIX = (
    "one row per well and time: columns 'well', 'time_h', 'treatment' and 'count'; 'cell_line' and "
    "'plate' where there are several"
)
CHANNEL = "count"
_CALLED = {"count", "counts", "cells", "cell count", "cell_count", "n_cells", "live", "live cells"}
_MOST_DRUGS = 2


def read_counts(source: Source) -> Courses:
    """The wells of a file, one channel called ``count``. Raises :class:`FileError`."""
    found = read_courses(source)
    places = [at for at, name in enumerate(found.channels) if fold_name(name) in _CALLED]
    if len(places) != 1 or len(found.channels) != 1:
        names = ", ".join(shorten(name) for name in found.channels[:5])
        message = f"the readings are {names}: one column of counts is needed"
        raise FileError(NAME, 1, message, FIX)
    values = found.values[:, 0]
    seen = values[np.isfinite(values)]
    odd = seen[(seen < 0) | (seen != np.round(seen))]
    if len(odd):
        message = f"{odd[0]:g} is no number of cells"
        raise FileError(NAME, None, message, "give whole numbers, 0 or more")
    together = (found.doses() > 0).sum(axis=1)
    if together.size and together.max() > _MOST_DRUGS:
        well = found.courses[int(together.argmax())].name
        message = f"well {shorten(well)} holds {int(together.max())} drugs"
        raise FileError(NAME, None, message, "at most two drugs a well can be told apart")
    return replace(found, channels=(CHANNEL,))
