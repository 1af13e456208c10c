"""The objective of measured blocks: by hand, for pairs across lines, and what is not known yet."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from models.objectives.block_noise import BlockNoise
from models.objectives.efficacy import efficacy_noise_sd
from models.objectives.measured import (
    MeasuredObjective,
    measure_objective,
    measured_efficacy,
    measured_scores,
)
from models.objectives.objective import Efficacy, Objective, Pareto, Score, Selectivity, WeightedSum
from models.objectives.scores import Blocks
from models.pharmacology.noise import NoiseModel
from models.screen import Candidates, CellLineTable, ScreenError

WELLS = NoiseModel(0.03, 0.04, "known")
SHARED = BlockNoise(1.5, 0.02, "known")
LINES = CellLineTable(("kill", "spare", "other"), np.empty((3, 0)), np.zeros(3, bool))

PLACES = [((0, 1), 0), ((0, 1), 1), ((0, 2), 0), ((1, 2), 1), ((0, 1), 2)]
"""Pair and cell line of each block: the first pair alone is measured in both compared lines."""
VIABILITY = np.array([[0.2, 0.4], [0.9, 0.7], [0.5, 0.5], [0.1, 0.3], [1.0, 0.8]])
SCORES = np.array([12.0, 1.0, -3.0, 4.0, 0.5])


def blocks(reverse: bool = False) -> Blocks:
    """Two dose pairs in each block, three wells each; ``reverse``: compounds numbered backwards."""
    pairs = np.array([pair for pair, _ in PLACES])
    pairs = 2 - pairs[:, ::-1] if reverse else pairs
    order = np.lexsort([pairs[:, 1], pairs[:, 0], [line for _, line in PLACES]])
    at = Candidates(pairs[order], np.array([line for _, line in PLACES])[order])
    viability, n = VIABILITY[order].ravel(), len(PLACES)
    return Blocks(
        score_name="bliss_mean",
        candidates=at,
        score=SCORES[order],
        noise_sd=np.full(n, 2.0),
        n_wells=np.full(n, 6),
        n_dose_pairs=np.full(n, 2),
        block=np.repeat(np.arange(n), 2),
        doses_um=np.ones((2 * n, 2)),
        viability=viability,
        reference=np.ones(2 * n),
        excess=np.zeros(2 * n),
        excess_sd=np.ones(2 * n),
        noise=SHARED,
        excluded=(),
    )


def measure(objective: Objective, of: Blocks | None = None) -> MeasuredObjective:
    return measure_objective(objective, of or blocks(), WELLS, LINES)


def row(pair: tuple[int, int], line: int) -> int:
    at = blocks().candidates
    found = (at.compounds == pair).all(axis=1) & (at.cell_line == line)
    return int(np.flatnonzero(found)[0])


SELECTIVE = Selectivity(kill=(("kill", 1.0),), spare=(("spare", 3.0),))


def test_the_score_is_that_of_the_blocks() -> None:
    found, same = measured_scores(blocks()), measure(Score())
    for one in (found, same):
        assert np.array_equal(one.value, blocks().score)
        assert np.array_equal(one.noise_sd, blocks().noise_sd)
        assert one.hits(3.0) == 2
        assert one.best == 12.0
        assert (one.partial, one.elsewhere) == (0, 0)


def test_inhibition_comes_from_the_wells() -> None:
    mean, _ = measured_efficacy(blocks(), WELLS, "mean")
    largest, _ = measured_efficacy(blocks(), WELLS, "max")
    assert mean[row((0, 1), 0)] == pytest.approx(70.0)
    assert largest[row((0, 1), 0)] == pytest.approx(80.0)
    assert mean[row((0, 1), 2)] == pytest.approx(10.0)
    assert np.array_equal(measure(Efficacy()).value, mean)
    assert np.array_equal(measure(Efficacy("max")).value, largest)


@pytest.mark.parametrize("summary", ["mean", "max"])
def test_noise_of_equal_wells_is_that_of_the_forecast(summary: str) -> None:
    """Where all wells of a block agree, both rules count the same wells."""
    value, sd = measured_efficacy(blocks(), WELLS, summary)
    equal = row((0, 2), 0)
    wanted = efficacy_noise_sd(value, np.full(5, 2), summary, WELLS, SHARED, 3)[equal]
    if summary == "max":  # two wells tie for the largest, and both count
        own = 1.5 * WELLS.sd(np.array([0.5]))[0] / math.sqrt(6)
        wanted = 100 * math.hypot(own, 0.02 * 0.5)
    assert sd[equal] == pytest.approx(wanted)


def test_selectivity_by_hand() -> None:
    found = measure(SELECTIVE)
    assert sorted(found.rows.tolist()) == sorted([row((0, 1), 0), row((0, 1), 1)])
    assert found.value == pytest.approx([50.0, 50.0])  # 70 killed, 20 spared
    _, sd = measured_efficacy(blocks(), WELLS, "mean")
    both = math.hypot(sd[row((0, 1), 0)], sd[row((0, 1), 1)])
    assert found.noise_sd == pytest.approx([both, both])
    assert len(set(found.group.tolist())) == 1


def test_a_pair_that_lacks_a_line_is_neither_a_hit_nor_a_miss() -> None:
    found = measure(SELECTIVE)
    assert (found.partial, found.elsewhere, found.n_blocks) == (2, 1, 5)
    assert found.hits(40.0) == 2
    assert found.hits(-100.0) == 2
    known = found.by_block()
    assert np.isnan(known[row((0, 2), 0)])
    assert known[row((0, 1), 1)] == pytest.approx(50.0)


def test_swapped_compounds_change_nothing() -> None:
    for objective in (SELECTIVE, Efficacy(), WeightedSum(((2.0, SELECTIVE),))):
        one, other = measure(objective), measure(objective, blocks(reverse=True))
        assert np.array_equal(np.sort(one.value), np.sort(other.value))
        assert np.array_equal(np.sort(one.noise_sd), np.sort(other.noise_sd))


def test_sums_by_hand() -> None:
    found = measure(WeightedSum(((2.0, Score()), (-0.5, Efficacy()))))
    first = row((0, 1), 0)
    assert found.value[first] == pytest.approx(2 * 12.0 - 0.5 * 70.0)
    _, sd = measured_efficacy(blocks(), WELLS, "mean")
    assert found.noise_sd[first] == pytest.approx(2 * 2.0 + 0.5 * sd[first])  # the same wells
    one, alone = measure(WeightedSum(((1.0, Efficacy()),))), measure(Efficacy())
    assert np.array_equal(one.value, alone.value)
    assert np.array_equal(one.noise_sd, alone.noise_sd)


def test_a_front_has_the_margin_of_its_worst_objective() -> None:
    found = measure(Pareto((Score(), Efficacy()), (2.0, 65.0)))
    first = row((0, 1), 0)
    assert found.each[first] == pytest.approx([12.0, 70.0])
    assert found.value[first] == pytest.approx(5.0)  # 70 - 65, and 12 - 2
    assert found.value[row((1, 2), 1)] == pytest.approx(2.0)  # 4 - 2, and 80 - 65
    assert found.hits(0.0) == 2
    assert found.hits(3.0) == 1


def test_three_lines_and_none() -> None:
    every = measure(Selectivity(kill=(("spare", 1.0), ("other", 1.0), ("kill", 2.0))))
    assert every.value == pytest.approx([(20.0 + 10.0 + 2 * 70.0) / 4] * 3)
    nothing = measure(Selectivity(kill=(("kill", 1.0),)), only_the_first())
    assert nothing.hits(60.0) == 1
    lacking = measure(SELECTIVE, only_the_first())
    assert (lacking.best, lacking.hits(-1e9), lacking.partial, len(lacking)) == (None, 0, 1, 0)


def only_the_first() -> Blocks:
    """The screen of one block, the first pair in the line to kill."""
    whole = blocks()
    per_block = ("score", "noise_sd", "n_wells", "n_dose_pairs")
    per_dose = ("block", "doses_um", "viability", "reference", "excess", "excess_sd")
    kept = {name: getattr(whole, name)[:1] for name in per_block}
    kept |= {name: getattr(whole, name)[:2] for name in per_dose}
    return replace(whole, candidates=whole.candidates.select(np.array([0])), **kept)


def test_refusals() -> None:
    with pytest.raises(ScreenError, match="not by hsa_mean"):
        measure(Score("hsa_mean"))
    with pytest.raises(ScreenError, match="not in the screen"):
        measure(Selectivity(kill=(("nowhere", 1.0),)))
    with pytest.raises(ScreenError, match="reference point"):
        measure(Pareto((Score(), Efficacy())))
