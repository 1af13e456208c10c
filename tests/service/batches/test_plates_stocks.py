"""Stocks that several batches draw on: no nanolitre is planned twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import Lab
from tests.service.batches.plates_bench import (
    a_batch,
    cassettes,
    give_stocks,
    lay_out,
    model_echo,
    report,
    stock,
    stocks,
    text,
)

REASON = {"reason": "The wrong assay plates were ordered."}
ROOM = 15_000.0  # stays behind in a source well
CASSETTES = {"destination": "384-well 50 uL", "dispenser": "D300e T8+"}


def needed(lab: Lab, batch: dict[str, Any], **body: Any) -> dict[str, dict[str, Any]]:
    """What a dry run says of the stocks, by their compound and concentration."""
    tried = lab.ok(lay_out(lab, batch, dry_run=True, **body))
    return {f"{each['name']} {each['stock_mm']:g}": each for each in tried["stocks"]}


def just_enough(lab: Lab, batch: dict[str, Any], times: float) -> None:
    """Give of compound A ``times`` of what the batch needs."""
    give_stocks(lab)
    wanted = needed(lab, batch)
    few = [
        {**each, "volume_nl": ROOM + times * wanted[f"A {each['mm']:g}"]["needed_nl"]}
        if each["compound"] == "A" and f"A {each['mm']:g}" in wanted
        else each
        for each in stocks()
    ]
    give_stocks(lab, few)


def cancel(lab: Lab, batch: dict[str, Any]) -> Any:
    return lab.post(f"/v1/batches/{batch['id']}/plates/cancellation", REASON)


@pytest.fixture
def two(lab: Lab) -> tuple[dict[str, Any], dict[str, Any]]:
    return a_batch(lab), a_batch(lab, name="Another")


def test_two_open_batches_do_not_share_nanolitres(lab: Lab, two: tuple) -> None:
    one, other = two
    just_enough(lab, one, 1.5)
    (plate,) = lab.ok(lay_out(lab, one))["plates"]
    problem = lab.refused(lay_out(lab, other), 422)
    assert {error["code"] for error in problem["errors"]} == {"stock"}
    assert f"for plate {plate['barcode']}: cancel what will not be made" in problem["detail"]
    need = next(each for name, each in needed(lab, other).items() if name.startswith("A "))
    assert need["planned_nl"] == need["needed_nl"]
    assert need["usable_nl"] == pytest.approx(0.5 * need["needed_nl"])
    lab.ok(cancel(lab, one))
    lab.ok(lay_out(lab, other))


def test_enough_for_both_is_enough(lab: Lab, two: tuple) -> None:
    one, other = two
    just_enough(lab, one, 2.0)
    lab.ok(lay_out(lab, one))
    lab.ok(lay_out(lab, other))


def test_issued_plates_count_after_the_stocks_were_given_anew(lab: Lab, two: tuple) -> None:
    """Nobody has dispensed them: what was filled up is theirs, too."""
    one, other = two
    just_enough(lab, one, 1.5)
    lab.ok(lay_out(lab, one))
    just_enough(lab, other, 1.5)
    lab.refused(lay_out(lab, other), 422)


def test_dispensed_plates_count_until_the_stocks_are_given_anew(lab: Lab, two: tuple) -> None:
    one, other = two
    just_enough(lab, one, 1.5)
    lab.ok(lay_out(lab, one))
    picks = text(lab, f"/v1/batches/{one['id']}/picklist")
    lab.ok(report(lab, one, model_echo(picks, seed=3)))
    lab.refused(lay_out(lab, other), 422)
    just_enough(lab, other, 1.5)
    lab.ok(lay_out(lab, other))


def test_cassettes(lab: Lab, two: tuple) -> None:
    one, other = two
    give_stocks(lab, cassettes(1e6))
    wanted = needed(lab, one, **CASSETTES)
    most = max(each["needed_nl"] for name, each in wanted.items() if not name.startswith("DMSO"))
    give_stocks(lab, cassettes(1.5 * most))
    (plate,) = lab.ok(lay_out(lab, one, **CASSETTES))["plates"]
    problem = lab.refused(lay_out(lab, other, **CASSETTES), 422)
    assert f"for plate {plate['barcode']}" in problem["detail"]


def test_other_source_wells_are_free(lab: Lab, two: tuple) -> None:
    one, other = two
    just_enough(lab, one, 1.0)
    lab.ok(lay_out(lab, one))
    more = [stock("A", mm, f"K{place}") for place, mm in enumerate((10.0, 0.5), start=1)]
    give_stocks(lab, [*stocks(), *more])
    lab.ok(lay_out(lab, other))
