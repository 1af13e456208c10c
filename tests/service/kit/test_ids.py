"""Identifiers that say their noun and sort by time."""

import re
import threading
import time

from service.kit import ids
from service.kit.ids import new_id


def stamp(identifier):
    """Milliseconds since 1970 in an identifier."""
    digits = identifier.split("_")[1]
    value = 0
    for digit in digits:
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(digit)
    return value >> 80


def test_shape():
    assert re.fullmatch(r"cmp_[0-9a-hjkmnp-tv-z]{26}", new_id("cmp"))


def test_they_ascend_even_within_a_millisecond():
    made = [new_id("x") for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_they_ascend_over_threads_and_never_collide():
    made = []

    def make():
        made.extend([new_id("x") for _ in range(2_000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8_000


def test_they_carry_the_time():
    before = time.time_ns() // 1_000_000
    assert before <= stamp(new_id("x")) <= before + 2_000


def test_a_clock_that_goes_back_does_not_break_the_order(monkeypatch):
    first = new_id("x")
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_000_000_000)
    assert new_id("x") > first
