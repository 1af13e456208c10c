"""Limits and hits, counted without a model: known answers."""

import itertools
import math
import struct
import zlib

import numpy as np
import pytest

from models.acquisition.hit_counts import count_hits as counted_by_model
from service.batches.bench import Bench, Spot
from service.batches.hit_counts import MOST_EXACT, count_hits, unpack_chances

NAMES = {name: name.upper() for name in "abcdexy"}


def bench(apart=(), stock=None, **limits):
    return Bench(limits, [frozenset(group) for group in apart], stock or {}, NAMES)


def spots(*words):
    """``"ab x 1"`` is a + b in x on plate 1."""
    made = []
    for word in words:
        pair, line, *plate = word.split()
        made.append(Spot((pair[0], pair[1]), line, int(plate[0]) if plate else None))
    return made


class TestLimits:
    @pytest.mark.parametrize(
        ("rules", "chosen", "broken"),
        [
            (bench(batch=2), ["ab x", "ac x"], []),
            (bench(batch=1), ["ab x", "ac x"], ["batch_size"]),
            (bench(per_compound=1), ["ab x", "cd x"], []),
            (bench(per_compound=1), ["ab x", "ac x"], ["max_per_compound"]),
            (bench(stock={"b": 0}), ["ab x"], ["stock"]),
            (bench(per_line=1), ["ab x", "ac x", "ad y"], ["max_per_cell_line"]),
            (bench(lines_in_batch=1), ["ab x", "ad y"], ["lines_in_batch"]),
            (bench(min_compounds=3), ["ab x"], ["min_compounds"]),
            (bench(min_compounds=3), ["ab x", "ac x"], []),
            (bench(apart=["ab"]), ["ab x"], ["never_together"]),
            (bench(apart=["ab"]), ["ac x", "bc x"], []),
            (bench(apart=["ab"], plates=2), ["ac x 1", "bc x 1"], ["never_together"]),
            (bench(apart=["ab"], plates=2), ["ac x 1", "bc x 2"], []),
            (bench(plates=1), ["ab x 1", "ac x 2"], ["plates"]),
            (bench(plates=2, blocks=1), ["ab x 1", "ac x 1"], ["blocks_per_plate"]),
            (bench(plates=2, compounds=3), ["ab x 1", "cd x 1"], ["compounds_per_plate"]),
            (bench(plates=2, compounds=3), ["ab x 1", "ac x 1", "cd x 2"], []),
            (bench(plates=2, lines=1), ["ab x 1", "ab y 1"], ["lines_per_plate"]),
            (bench(plates=2, plate_cost=5, block_cost=1, budget=7), ["ab x 1", "ac x 1"], []),
            (bench(plates=2, plate_cost=5, block_cost=1, budget=7), ["ab x 1", "ac x 2"],
             ["budget"]),
        ],
    )  # fmt: skip
    def test_each(self, rules, chosen, broken):
        assert [one.limit for one in rules.broken(spots(*chosen))] == broken

    def test_words_are_for_people(self):
        (one,) = bench(plates=2, compounds=3).broken(spots("ab x 2", "cd x 2"))
        assert one.message == "Plate 2 would hold 4 compounds, the limit is 3."
        (one,) = bench(stock={"b": 1}).broken(spots("ab x", "bc x"))
        assert one.message == "B would be in 2 blocks, its stock is for 1."

    def test_what_has_no_plate_goes_to_the_first_with_room(self):
        rules = bench(plates=9, blocks=2, lines=1)
        laid = rules.lay_out(spots("ab x", "ab y 1", "cd x", "cd y", "ac y"))
        assert [spot.plate for spot in laid] == [2, 1, 2, 1, 3]

    def test_without_plates_nothing_is_laid_out(self):
        assert bench(batch=3).lay_out(spots("ab x")) == spots("ab x")
        assert bench(plate_cost=4.0, block_cost=0.5).cost(spots("ab x", "ac x")) == 5.0


class TestHits:
    def test_against_every_outcome(self):
        """Two worlds, three candidates: the sum over all eight outcomes."""
        worlds = [[0.9, 0.5, 0.1], [0.2, 0.2, 0.7]]
        share = [0.0] * 4
        for chances, outcome in itertools.product(worlds, itertools.product((0, 1), repeat=3)):
            each = (p if hit else 1 - p for p, hit in zip(chances, outcome, strict=True))
            share[sum(outcome)] += math.prod(each) / 2
        below = np.cumsum(share)
        found = count_hits(worlds, 1.3)
        assert (found.expected, found.level) == (1.3, 0.9)
        assert found.low == int(np.searchsorted(below, 0.05))
        assert found.high == int(np.searchsorted(below, 0.95))

    @pytest.mark.parametrize("n", [20, MOST_EXACT, MOST_EXACT + 1, 300])
    def test_as_the_models_count(self, n):
        """Draws without noise are hits or not: the same count by the code of the outlook."""
        rng = np.random.default_rng(n)
        draws = rng.normal(size=(37, n)) + rng.normal(size=(37, 1))
        hits = (draws > 0.8).astype(float)
        theirs = counted_by_model(draws, 0.8).interval
        ours = count_hits(hits.tolist(), float(hits.mean(axis=0).sum()))
        assert (ours.low, ours.high) == theirs

    def test_worlds_that_err_together_say_less(self):
        together = count_hits([[0.0] * 20, [1.0] * 20], 10.0)
        apart = count_hits([[0.5] * 20], 10.0)
        assert (together.low, together.high) == (0, 20)
        assert (apart.low, apart.high) == (6, 14)

    def test_nothing(self):
        assert count_hits([[], []], 0.0).high == 0

    def test_kept_candidate_by_candidate(self):
        table = [[0.25, 0.5], [0.125, 1.0], [0.0, 0.75]]
        packed = zlib.compress(b"".join(struct.pack("<2e", *row) for row in table))
        assert unpack_chances(packed, 3, [2, 0]) == [[0.0, 0.25], [0.75, 0.5]]
