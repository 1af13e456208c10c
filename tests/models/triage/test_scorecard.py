"""The card: points that add up, symmetry, intervals, refusals, reasons."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from models.screen import ABSENT, CompoundTable, ScreenError, Stopped
from models.triage.attributes import describe_compounds
from models.triage.calibration import (
    area_under_curve,
    calibrate,
    isotonic,
    log_loss,
)
from models.triage.describing import CardNames, describe_card, describe_scores
from models.triage.features import BlockTable
from models.triage.making import Made, make_scorecard
from models.triage.printing import WIDTH, card_text
from models.triage.scorecard import DOUBLING, WORDS
from tests.models.triage.blocks import MECHANISMS, TARGETS, simulate

Data = tuple[BlockTable, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def data() -> Data:
    return simulate(6000, 40, seed=3)


@pytest.fixture(scope="module")
def made(data: Data) -> Made:
    table, hit, _ = data
    return make_scorecard(table.select(np.arange(3000)), hit[:3000], seed=1)


@pytest.fixture(scope="module")
def names() -> CardNames:
    return CardNames(
        [f"compound {k}" for k in range(40)],
        [f"line {k}" for k in range(12)],
        [f"T{k}" for k in range(TARGETS)],
        [f"M{k}" for k in range(MECHANISMS)],
    )


def test_points_add_up_to_the_logit_exactly(made: Made, data: Data) -> None:
    """Bit for bit, in any order: whole numbers times one constant."""
    table = data[0]
    scored = made.card.score(table)
    assert scored.points.dtype == np.int64
    order = np.random.default_rng(0).permutation(scored.points.shape[1])
    total = made.card.base + scored.points[:, order].sum(axis=1)
    assert np.array_equal(total * (math.log(2.0) / DOUBLING), scored.logit)
    assert np.array_equal(expit(scored.logit), scored.chance)


def test_points_are_the_regression_but_for_rounding(made: Made, data: Data) -> None:
    """Half a point each, for the base and every feature; a side of a pair and a compound's
    history are rounded by themselves."""
    table = data[0]
    exact = made.card.calibration.apply(made.card.core.logits(table))
    parts = len(made.card.features) + 4
    assert (
        np.abs(made.card.score(table).logit - exact).max() <= parts * 0.5 * math.log(2) / DOUBLING
    )


def test_the_printed_card_gives_the_same_total_by_hand(
    made: Made, data: Data, names: CardNames
) -> None:
    """A reader who only has the document finds every part of a block in it."""
    table = data[0].select(np.arange(3000, 3200))
    card, scored = describe_card(made.card, names), made.card.score(table)
    described = describe_scores(made.card, table, scored, names)
    sections = {section["feature"]: section for section in card["sections"]}
    for row, said in enumerate(described):
        total = card["base"]
        for part in said["parts"]:
            total += _points_by_hand(sections[part["feature"]], part["value"])
        assert total == said["total"] == int(scored.total[row])


def _points_by_hand(section: dict[str, Any], value: str) -> int:
    rows = {row["value"]: row["points"] for row in section["rows"]}
    if "sides" in section:
        pair = value.split(",")[0]
        if pair in rows:
            return int(rows[pair])
        sides = {row["value"]: row["points"] for row in section["sides"]}
        return int(sum(sides.get(side, 0) for side in pair.split(" with ")))
    if section["feature"] == "cell_line":
        return int(rows[value])
    if section["feature"] == "compound_history":
        return int(sum(rows.get(part.split(",")[0], 0) for part in value.split("; ")))
    if section["feature"] == "pair_history":
        return int(rows.get(value.split(",")[0], 0))
    return int(rows[value.split("(")[1].rstrip(")")])


def test_both_orders_of_a_pair_score_alike_to_the_last_bit(made: Made, data: Data) -> None:
    table = data[0].select(np.arange(500))
    turned = replace(table, target=table.target[:, ::-1], mechanism=table.mechanism[:, ::-1])
    one, other = made.card.score(table), made.card.score(turned)
    assert np.array_equal(one.points, other.points)
    assert np.array_equal(one.low, other.low)
    assert np.array_equal(one.high, other.high)


def test_the_same_blocks_make_the_same_card(data: Data, made: Made, names: CardNames) -> None:
    table, hit, _ = data
    again = make_scorecard(table.select(np.arange(3000)), hit[:3000], seed=1)
    assert describe_card(again.card, names) == describe_card(made.card, names)


def test_new_blocks_are_told_apart_and_chances_are_right(made: Made, data: Data) -> None:
    table, hit, _ = data
    later = np.arange(3000, 6000)
    scored, outcome = made.card.score(table.select(later)), hit[later].astype(float)
    numbers = ("more_active", "less_active")
    known = np.stack([data[0].numbers[name][later] for name in numbers])
    alone = area_under_curve(0.6 * known[0] - 0.3 * known[1] ** 2, outcome)
    found = area_under_curve(scored.logit, outcome)
    # What is true of the numbers, without compounds, targets and lines, is the least.
    assert found is not None
    assert alone is not None
    assert found > alone + 0.05
    base = np.full(3000, math.log(hit[:3000].mean() / (1 - hit[:3000].mean())))
    assert log_loss(scored.logit, outcome) < log_loss(base, outcome) - 0.02
    # 3,000 blocks with a hit rate near 0.1: a standard error of 0.0055.
    assert scored.chance.mean() == pytest.approx(outcome.mean(), abs=3 * 0.0055)


def test_intervals_cover_the_true_chance(made: Made, data: Data) -> None:
    """Of nominal 90 %: effects that the card does not know of (mechanisms beyond targets are
    none here, the interaction of bins is) leave it below, but not by half."""
    table, _, logits = data
    scored = made.card.score(table.select(np.arange(3000, 6000)))
    inside = (scored.low <= expit(logits[3000:])) & (expit(logits[3000:]) <= scored.high)
    assert 0.6 < inside.mean() < 0.99
    assert np.all((scored.low < scored.high) & (scored.low > 0) & (scored.high < 1))


def test_new_compounds_have_no_points_for_history(made: Made, data: Data) -> None:
    table = data[0].select(np.arange(20))
    new = replace(table, compounds=np.tile([40, 41], (20, 1)), n_compounds=42)
    wider = make_scorecard(
        replace(data[0].select(np.arange(3000)), n_compounds=42), data[1][:3000], seed=1
    )
    points = wider.card.points(new)
    for name in ("compound_history", "pair_history"):
        assert not points[:, wider.card.features.index(name)].any()


def test_unknown_values_and_labels_are_worth_nothing(made: Made, data: Data) -> None:
    table = data[0].select(np.arange(5))
    nothing = np.full((5, 2), ABSENT)
    empty = replace(
        table, target=nothing, mechanism=nothing,
        numbers={name: np.full(5, np.nan) for name in table.numbers},
    )  # fmt: skip
    points = made.card.points(empty)
    for k, name in enumerate(made.card.features):
        if name not in ("cell_line", "compound_history", "pair_history"):
            assert not points[:, k].any()


def test_labels_of_pure_noise_make_a_card_that_says_so() -> None:
    """The whole way: a card of noise must not promise anything on held-out compounds."""
    table, _, _ = simulate(3000, 30, seed=5)
    hit = np.random.default_rng(6).random(3000) < 0.12
    made = make_scorecard(table, hit)
    held = made.report["calibration"]["held_out"]
    assert abs(held["auc"] - 0.5) < 3 * 0.016  # 360 hits
    assert held["log_loss"] < held["log_loss_of_base_rate"] + 0.002
    chance = made.card.score(table).chance
    assert chance.max() < 0.25
    assert chance.min() > 0.05


@pytest.mark.parametrize("n", [5, 8, 15])
def test_a_handful_of_blocks_makes_a_careful_card(n: int) -> None:
    table, hit, _ = simulate(60, 8, seed=2)
    hit = hit.copy()
    hit[:n] = False
    hit[1] = True
    made = make_scorecard(table.select(np.arange(n)), hit[:n])
    scored = made.card.score(table)
    assert np.all(np.isfinite(scored.low))
    assert np.all(scored.high < 1)
    assert scored.chance.max() < 0.6
    assert "Not calibrated" in made.report["calibration"]["words"]


@pytest.mark.parametrize(
    ("n", "hits", "words"),
    [(4, 1, "needs 5"), (10, 0, "none of 10 .* lower the threshold"), (10, 10, "raise the")],
)
def test_nothing_to_learn_is_refused_in_words(n: int, hits: int, words: str) -> None:
    table, _, _ = simulate(20, 8)
    hit = np.arange(n) < hits
    with pytest.raises(ScreenError, match=words):
        make_scorecard(table.select(np.arange(n)), hit)


def test_it_stops_when_asked(data: Data) -> None:
    with pytest.raises(Stopped):
        make_scorecard(data[0], data[1], should_stop=lambda: True)


def test_rounds_that_shift_are_said_to(data: Data) -> None:
    table, hit, _ = data
    rounds = (table.cell_line >= 9).astype(np.int64)
    made = make_scorecard(table, hit, rounds=rounds)
    by_feature = {drift.feature: drift for drift in made.drift}
    assert by_feature[WORDS["cell_line"]].verdict == "other"
    assert by_feature[WORDS["more_active"]].verdict == "same"
    assert "make a new card" in by_feature[WORDS["cell_line"]].words
    json.dumps(made.report, allow_nan=False)


def test_reasons_name_what_weighs_most(made: Made, data: Data, names: CardNames) -> None:
    table = data[0].select(np.arange(3000, 3050))
    scored = made.card.score(table)
    for said, points in zip(
        describe_scores(made.card, table, scored, names), scored.points, strict=True
    ):
        first = said["reasons"][0]
        most = int(points[np.argmax(np.abs(points))])
        assert abs(int(first.split(":")[0])) == abs(most)
        json.dumps(said, allow_nan=False)


def test_the_text_fits_a_page_and_holds_every_section(made: Made, names: CardNames) -> None:
    document = describe_card(made.card, names)
    json.dumps(document, allow_nan=False)
    text = card_text(document, made.report)
    table = text.split("\n\n", 2)[2].rsplit("\n\n", 1)[0]
    assert max(map(len, table.splitlines())) <= WIDTH
    for section in document["sections"]:
        assert section["words"].upper() in text
    assert "20 points double the odds" in text


def test_platt_undoes_log_odds_that_are_too_bold() -> None:
    rng = np.random.default_rng(8)
    true = -1.5 + rng.standard_normal(8000)
    hit = (rng.random(8000) < expit(true)).astype(float)
    found = calibrate(-1.5, -1.5 + 2.5 * (true + 1.5), hit, np.ones(8000))
    assert found.slope == pytest.approx(0.4, abs=0.04)
    assert found.held_out is not None
    assert found.held_out["log_loss"] < found.held_out["log_loss_before"]


def test_log_odds_that_point_the_wrong_way_are_flattened() -> None:
    rng = np.random.default_rng(9)
    true = -1 + rng.standard_normal(4000)
    hit = (rng.random(4000) < expit(true)).astype(float)
    found = calibrate(-1.0, -2.0 - true, hit, np.ones(4000))
    assert found.slope == 0.0
    assert "no better than chance" in found.words


def test_isotonic_is_monotone_and_keeps_the_mean() -> None:
    rng = np.random.default_rng(10)
    logits = rng.standard_normal(500).round(1)
    hit = (rng.random(500) < expit(logits)).astype(float)
    weight = rng.uniform(0.5, 2, 500)
    p = isotonic(logits, hit, weight)
    assert np.all(np.diff(p[np.argsort(logits, kind="stable")]) >= 0)
    assert np.average(p, weights=weight) == pytest.approx(np.average(hit, weights=weight))


def test_area_under_the_curve_counts_pairs() -> None:
    score, hit = np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0])
    assert area_under_curve(score, hit) == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    weighted = area_under_curve(score, hit, np.array([1.0, 3.0, 1.0, 1.0]))
    assert weighted == pytest.approx((1 + 3 * 0.5 + 4) / 8)
    assert area_under_curve(score, np.ones(4)) is None


def test_mechanisms_join_compounds_of_alike_targets() -> None:
    targets = (("MAP2K1", "MAP2K2"), ("MAP2K1",), ("TOP1",), (), ("MAP2K1", "MAP2K2"))
    table = CompoundTable(tuple("abcde"), np.eye(5, 8, dtype=np.uint8), np.ones(5, bool), targets)
    found = describe_compounds(table)
    assert found.target[0] == found.target[4] != found.target[1]
    assert found.mechanism[0] == found.mechanism[1] == found.mechanism[4] != found.mechanism[2]
    assert found.target[3] == found.mechanism[3] == ABSENT
    assert found.mechanism_names[found.mechanism[0]] == "like MAP2K1/MAP2K2"
    assert found.shared_targets[0, 1] == pytest.approx(0.5)
    assert np.isnan(found.shared_targets[0, 3])
    assert found.similarity[0, 1] == 0.0
