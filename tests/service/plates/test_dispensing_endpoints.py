"""PUT /v1/campaigns/{id}/dispensing: doses are snapped before anything is scored."""

from __future__ import annotations

from typing import Any

import pytest

from service.plates.dispensing import real_dose
from tests.lab import Lab, codes
from tests.service.batches.plates_bench import SIZE, give_stocks, put
from tests.service.learning.bench import COMPOUNDS, open_campaign


def path(campaign: dict[str, Any]) -> str:
    return f"/v1/campaigns/{campaign['id']}/dispensing"


def doses(lab: Lab, campaign: dict[str, Any]) -> dict[str, list[float]]:
    now = lab.ok(lab.get(f"/v1/campaigns/{campaign['id']}"))
    return {row["name"]: row["doses_um"] for row in now["compounds"]}


def test_real_doses_become_the_campaigns_and_nominal_ones_are_kept(lab: Lab) -> None:
    campaign = open_campaign(lab, doses_um=[0.31, 3.0])
    give_stocks(lab)
    response = put(lab, path(campaign), SIZE, 1)
    snapped = lab.ok(response)
    assert response.headers["etag"] == '"2"'
    assert lab.ok(lab.get(path(campaign))) == snapped
    assert snapped["not_snapped"] == []
    assert [row["name"] for row in snapped["compounds"]] == list(COMPOUNDS)
    for row in snapped["compounds"]:
        assert [each["nominal_um"] for each in row["doses"]] == [0.31, 3.0]
        for each in row["doses"]:
            assert each["volume_nl"] % 2.5 == 0
            volume = each["volume_nl"]
            assert each["real_um"] == real_dose(each["stock_mm"], volume, 50_000, volume)
        assert [each["stock_mm"] for each in row["doses"]] == [0.5, 10.0]
        assert doses(lab, campaign)[row["name"]] == [each["real_um"] for each in row["doses"]]


def test_what_is_recommended_then_can_be_made(lab: Lab) -> None:
    campaign = open_campaign(lab, learning={"acquisition": "random"})
    give_stocks(lab)
    lab.ok(put(lab, path(campaign), {**SIZE, "fraction": 0.002}, 1))
    real = doses(lab, campaign)
    for candidate in lab.recommend(campaign["id"])["candidates"]:
        for compound in candidate["compounds"]:
            assert compound["doses_um"] == real[compound["name"]]


def test_snapping_again_begins_from_the_nominal_doses(lab: Lab) -> None:
    campaign = open_campaign(lab, doses_um=[0.31, 3.0])
    give_stocks(lab)
    first = lab.ok(put(lab, path(campaign), {**SIZE, "stock_mm": 0.9, "tolerance": 0.3}, 1))
    assert first["settings"]["stock_mm"] == 0.9
    again = lab.ok(put(lab, path(campaign), SIZE, 2))
    for row in again["compounds"]:
        assert [each["nominal_um"] for each in row["doses"]] == [0.31, 3.0]


def test_stocks_by_compound_and_compounds_that_come_later(lab: Lab) -> None:
    campaign = open_campaign(lab)
    given = {name: [10.0, 0.5] for name in COMPOUNDS[1:]}
    problem = lab.refused(put(lab, path(campaign), {**SIZE, "stock_mm": given}, 1), 422)
    assert codes(problem) == [("dose", None)]
    assert problem["detail"].startswith("A has no stock")
    snapped = lab.ok(put(lab, path(campaign), {**SIZE, "stock_mm": {**given, "a": [10.0, 0.5]}}, 1))
    a = snapped["compounds"][0]
    assert snapped["settings"]["stock_mm"][a["compound"]] == [10.0, 0.5]
    (later,) = lab.compounds("Late")
    more = {"add_compounds": [{"compound": "Late", "doses_um": [1.0]}]}
    lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", more, 2))
    assert lab.ok(lab.get(path(campaign)))["not_snapped"] == [later]


def test_nothing_was_snapped(lab: Lab) -> None:
    campaign = open_campaign(lab)
    empty = {"settings": None, "compounds": [], "not_snapped": []}
    assert lab.ok(lab.get(path(campaign))) == {"campaign_id": campaign["id"], **empty}


@pytest.mark.parametrize(
    ("doses_um", "body", "error", "words"),
    [
        ([0.001, 3.0], {"stock_mm": 10.0}, ("dose", None), "A: 0.001 uM cannot be dispensed from"),
        ([0.001, 3.0], {"stock_mm": 10.0}, ("dose", None), "0.02 mM gives it in one drop"),
        ([100.0], {"stock_mm": 10.0}, ("dose", None), "125 nL are allowed for each of 2 compounds"),
        ([3.0, 3.1], {"stock_mm": 10.0, "tolerance": 0.2}, ("dose", None), "fall together"),
        ([3.0], {"stock_mm": 10.0, "dispenser": "X"}, ("dispenser", "/dispenser"), "Echo 650"),
        ([3.0], {"stock_mm": {"Q": 10.0}}, ("unknown_compound", "/stock_mm/Q"), "'Q'"),
        ([3.0], {"stock_mm": {"A": []}}, ("value_error", "/stock_mm"), "a concentration at least"),
        ([3.0], {}, ("dose", None), "A has no stock in a source plate for Echo 650"),
    ],
)
def test_what_cannot_be_dispensed(
    lab: Lab, doses_um: list[float], body: Any, error: Any, words: str
) -> None:
    campaign = open_campaign(lab, doses_um=doses_um)
    before = doses(lab, campaign)
    with lab.untouched():
        problem = lab.refused(put(lab, path(campaign), {**SIZE, **body}, 1), 422)
    assert codes(problem)[0] == error
    assert words in problem["detail"]
    assert doses(lab, campaign) == before


def test_versions_and_closed_campaigns(lab: Lab, other_lab: Lab) -> None:
    campaign = open_campaign(lab)
    give_stocks(lab)
    with lab.untouched():
        lab.refused(lab.request("PUT", path(campaign), json=SIZE), 428)
        lab.refused(put(lab, path(campaign), SIZE, 2), 412)
        other_lab.refused(put(other_lab, path(campaign), SIZE, 1), 404)
    lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
    with lab.untouched():
        lab.refused(put(lab, path(campaign), SIZE, 2), 409)
