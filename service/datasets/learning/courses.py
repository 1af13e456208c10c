"""Learning from time courses: drug pairs by growth and death, other signals by a neural system."""

from __future__ import annotations

import numpy as np

from models.chemistry.names import fold_name
from models.dynamics.series import GroupFactor, TimeCourses
from models.screen import BoolArray, ProgressCallback, StopCallback
from service.datasets.learning.drug_pairs import GROWTH_CHANNELS, learn_drug_pairs
from service.datasets.learning.learned import Learned
from service.datasets.learning.signals import learn_signals
from service.datasets.reading.found import Courses

_CALLED = {
    "phase": ("phase", "confluence", "phase confluence", "phase_confluence"),
    "green": ("green", "annexin v", "annexin"),
    "red": ("red", "yoyo-3", "yoyo3", "dead"),
}


def learn_courses(
    found: Courses, *, seed: int, on_progress: ProgressCallback, should_stop: StopCallback
) -> Learned:
    """Raises :class:`models.screen.ScreenError` in words for what nothing can be learned from."""
    growth = growth_channels(found.channels)
    together = ((found.doses() > 0).sum(axis=1) == 2).any()
    learn = learn_drug_pairs if growth[0] is not None and together else learn_signals
    return learn(found, seed=seed, on_progress=on_progress, should_stop=should_stop)


def growth_channels(channels: tuple[str, ...]) -> tuple[int | None, ...]:
    """Places of confluence, Annexin V and YOYO-3, as an imager may call them."""
    folded = [fold_name(channel) for channel in channels]
    return tuple(
        next((folded.index(word) for word in _CALLED[name] if word in folded), None)
        for name in GROWTH_CHANNELS
    )


def as_series(found: Courses, rows: BoolArray, inputs: tuple[int, ...]) -> TimeCourses:
    """The series at ``rows``, with the doses of the perturbations at ``inputs``; names are made
    distinct by their plate, and plates are a factor where there are several."""
    chosen = np.flatnonzero(rows)
    times = np.unique(found.time_h[np.isin(found.series, chosen)])
    place = {int(row): at for at, row in enumerate(chosen)}
    values = np.full((len(chosen), len(found.channels), len(times)), np.nan)
    for reading in np.flatnonzero(np.isin(found.series, chosen)):
        at = np.searchsorted(times, found.time_h[reading])
        values[place[int(found.series[reading])], :, at] = found.values[reading]
    courses = [found.courses[row] for row in chosen]
    plates = [course.plate for course in courses]
    names = [c.name if c.name.startswith(c.plate) else f"{c.plate} / {c.name}" for c in courses]
    factors = (GroupFactor.of("plate", plates),) if len(set(plates)) > 1 else ()
    return TimeCourses(
        times, values, found.channels, tuple(names), found.doses()[chosen][:, list(inputs)],
        tuple(found.perturbations[i] for i in inputs), factors,
    )  # fmt: skip


def only_seen(series: TimeCourses) -> TimeCourses:
    """Without series of which nothing was read."""
    return series.select(np.asarray(series.observed.any(axis=(1, 2)), np.bool_))
