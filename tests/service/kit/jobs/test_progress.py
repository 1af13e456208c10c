"""Progress is thinned out, and the time left is honest."""

from __future__ import annotations

from service.kit.jobs.progress import ProgressMeter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_at_most_four_writes_a_second():
    clock = Clock()
    meter = ProgressMeter(clock)
    written = 0
    for step in range(1000):
        clock.now = step / 100
        written += meter.measure("training", step, 1000) is not None
    assert 38 <= written <= 41


def test_time_left_counts_from_where_the_stage_began():
    clock = Clock()
    meter = ProgressMeter(clock)
    assert meter.measure("training", 800, 1000)["eta_s"] is None
    clock.now = 10.0
    assert meter.measure("training", 900, 1000)["eta_s"] == 10.0


def test_a_new_stage_is_never_swallowed():
    meter = ProgressMeter(Clock())
    assert meter.measure("reading", 1, 1)["stage"] == "reading"
    assert meter.measure("reading", 1, 1) is None
    assert meter.measure("fitting", 0, 1)["stage"] == "fitting"


def test_a_new_stage_starts_afresh():
    clock = Clock()
    meter = ProgressMeter(clock)
    meter.measure("training", 0, 10)
    clock.now = 5.0
    assert meter.measure("scoring", 0, 10)["eta_s"] is None
    clock.now = 6.0
    assert meter.measure("scoring", 2, 10)["eta_s"] == 4.0
