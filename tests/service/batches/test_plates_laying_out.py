"""POST /v1/batches/{id}/plates: an accepted batch becomes plates, once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from service.plates.barcodes import checked
from tests.lab import Lab, at_once, codes
from tests.service.batches.plates_bench import (
    BLOCKS,
    SIZE,
    a_batch,
    give_stocks,
    lay_out,
    put,
    stock,
    stocks,
    table,
    text,
)
from tests.service.learning.bench import open_campaign


@pytest.fixture
def batch(lab: Lab) -> dict[str, Any]:
    made = a_batch(lab)
    give_stocks(lab)
    return made


def wells(lab: Lab, plate: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]
    return found


def cancel(lab: Lab, batch: dict[str, Any]) -> Any:
    path = f"/v1/batches/{batch['id']}/plates/cancellation"
    return lab.post(path, {"reason": "The wrong assay plates were ordered."})


class TestLayingOut:
    def test_every_dose_of_every_block_with_its_single_agents_and_controls(
        self, lab: Lab, batch: dict[str, Any]
    ) -> None:
        control = {"compound": "E", "dose_um": 20.0}
        pair = [{"compound": "C", "dose_um": 1.0}, {"compound": "D", "dose_um": 1.0}]
        response = lay_out(lab, batch, positive_control=control, reference_pair=pair)
        layout = lab.ok(response)
        assert response.headers["location"] == f"/v1/batches/{batch['id']}/plates"
        assert lab.ok(lab.get(response.headers["location"])) == layout
        assert (layout["format"], layout["seed"], layout["block_shape"]) == (384, 7, "matrix")
        (plate,) = layout["plates"]
        assert checked(plate["barcode"]) == plate["barcode"]
        assert plate["roles"] == {
            "sample": 12, "single": 8, "vehicle": 16, "positive": 8, "reference_pair": 2
        }  # fmt: skip
        assert plate["n_wells"] == 46
        placed = wells(lab, plate)
        blocks = Counter(well["block"] for well in placed if well["role"] == "sample")
        assert blocks == dict.fromkeys((item["id"] for item in batch["items"]), 4)
        assert {well["cell_line"] for well in placed} == {batch["items"][0]["cell_line"]["id"]}
        for well in placed:
            for content in well["contents"]:
                assert content["real_um"] == pytest.approx(content["nominal_um"], rel=0.1)
        # The vehicle is the same in every well.
        totals = {w["vehicle_nl"] + sum(c["volume_nl"] for c in w["contents"]) for w in placed}
        assert len(totals) == 1

    def test_replicates_lie_on_plates_of_their_own(self, lab: Lab, batch: dict[str, Any]) -> None:
        layout = lab.ok(lay_out(lab, batch, replicates=3))
        assert [plate["replicate"] for plate in layout["plates"]] == [1, 2, 3]
        assert len({plate["barcode"] for plate in layout["plates"]}) == 3
        first, second, _ = ({w["well"] for w in wells(lab, p)} for p in layout["plates"])
        assert first != second

    def test_the_same_seed_gives_the_same_plates(self, lab: Lab, batch: dict[str, Any]) -> None:
        first = wells(lab, lab.ok(lay_out(lab, batch))["plates"][0])
        lab.ok(cancel(lab, batch))
        assert wells(lab, lab.ok(lay_out(lab, batch))["plates"][0]) == first
        lab.ok(cancel(lab, batch))
        assert wells(lab, lab.ok(lay_out(lab, batch, seed=8))["plates"][0]) != first

    def test_plates_of_the_batch_are_kept(self, lab: Lab) -> None:
        kept = a_batch(lab, plates=[1, 2, 1])
        give_stocks(lab)
        layout = lab.ok(lay_out(lab, kept))
        items = [item["id"] for item in kept["items"]]
        found = [
            {well["block"] for well in wells(lab, plate) if well["block"]}
            for plate in layout["plates"]
        ]
        assert found == [{items[0], items[2]}, {items[1]}]

    @pytest.mark.parametrize(
        "limits",
        [
            {"block_shape": "diagonal", "block_doses": 2},
            {
                "block_shape": "matrix",
                "block_doses": 2,
                "replicates": 2,
                "single_agents": "per_block",
            },
        ],
    )
    def test_as_the_limits_of_the_campaign_say(self, lab: Lab, limits: dict[str, Any]) -> None:
        made = a_batch(lab, limits=limits)
        give_stocks(lab)
        layout = lab.ok(lay_out(lab, made))
        assert (layout["block_shape"], layout["replicates"]) == (
            limits["block_shape"], limits.get("replicates", 1)
        )  # fmt: skip
        roles = layout["plates"][0]["roles"]
        assert roles["sample"] == (6 if limits["block_shape"] == "diagonal" else 12)
        assert roles["single"] == (12 if "single_agents" in limits else 8)
        assert len(layout["plates"]) == limits.get("replicates", 1)

    def test_what_a_real_recommendation_was_limited_to(self, lab: Lab) -> None:
        limits = {"block_shape": "matrix", "block_doses": 2, "replicates": 2, "wells_per_plate": 60,
                  "plates": 1, "lines_per_plate": 1}  # fmt: skip
        campaign = open_campaign(lab, limits=limits, learning={"acquisition": "random"})
        give_stocks(lab)
        made = lab.ok(lab.accept(lab.recommend(campaign["id"])))
        assert {item["plate"] for item in made["items"]} == {1}
        layout = lab.ok(lay_out(lab, made))
        assert (layout["block_shape"], layout["replicates"]) == ("matrix", 2)
        assert len(layout["plates"]) == 2

    def test_doses_of_the_campaign_keep_their_nominal_ones(self, lab: Lab) -> None:
        """What was recommended is what is made, to the last bit, where the vehicle is said."""
        made = a_batch(lab, dispensing={**SIZE, "fraction": 0.002})
        doses = made["items"][0]["compounds"][0]["doses_um"]
        assert 0.3 not in doses
        assert doses == [pytest.approx(0.3, rel=0.1), pytest.approx(3.0, rel=0.1)]
        layout = lab.ok(lab.post(f"/v1/batches/{made['id']}/plates", {}))
        assert layout["settings"]["fraction"] == 0.002
        contents = [c for w in wells(lab, layout["plates"][0]) for c in w["contents"]]
        assert {content["nominal_um"] for content in contents} == {0.3, 3.0}
        assert {content["real_um"] for content in contents} == set(doses)

    def test_a_dry_run_says_all_of_it_and_stores_nothing(
        self, lab: Lab, batch: dict[str, Any]
    ) -> None:
        with lab.untouched():
            response = lay_out(lab, batch, dry_run=True)
            assert response.status_code == 200
            tried = lab.ok(response)
        stored = lab.ok(lay_out(lab, batch))
        assert (tried["id"], tried["status"], tried["conflicts"]) == (None, None, [])
        assert tried["plates"][0]["barcode"] is None
        assert tried["stocks"] == stored["stocks"]
        assert tried["plates"][0]["roles"] == stored["plates"][0]["roles"]
        rows = table(text(lab, f"/v1/batches/{batch['id']}/picklist"))
        for need in stored["stocks"]:
            volume = [
                float(row["Transfer Volume"]) for row in rows
                if (row["Sample ID"], _stock_of(row)) == (need["compound"], need["stock_mm"])
            ]  # fmt: skip
            assert sum(volume) == pytest.approx(need["needed_nl"])

    @pytest.mark.parametrize(
        ("destination", "levels"),
        [("96-well 100 uL", (10.0, 0.5)), ("1536-well 6 uL", (2.0, 0.2))],
    )
    def test_plates_of_other_formats(
        self, lab: Lab, destination: str, levels: tuple[float, float]
    ) -> None:
        made = a_batch(lab, BLOCKS[:2])
        give_stocks(lab, stocks(levels=levels))
        layout = lab.ok(lay_out(lab, made, destination=destination, tolerance=0.2))
        assert layout["format"] == int(destination.split("-")[0])
        for plate in layout["plates"]:
            listed = lab.ok(lab.get(f"/v1/plates/{plate['id']}"))
            assert listed["format"] == layout["format"]
            for content in (c for well in listed["wells"] for c in well["contents"]):
                assert content["real_um"] == pytest.approx(content["nominal_um"], rel=0.2)

    def test_the_same_request_again(self, lab: Lab, batch: dict[str, Any]) -> None:
        headers = {"Idempotency-Key": "once"}
        path = f"/v1/batches/{batch['id']}/plates"
        first = lab.post(path, SIZE, headers=headers)
        with lab.untouched():
            assert lab.ok(lab.post(path, SIZE, headers=headers)) == lab.ok(first)


def _stock_of(row: dict[str, str]) -> float:
    """By the wells of the bench: column 1 is the strong stock, column 2 the weak one."""
    if row["Sample ID"] == "DMSO":
        return 0.0
    return 10.0 if row["Source Well"].endswith("1") else 0.5


class TestOnce:
    def test_a_second_layout_needs_the_first_cancelled(
        self, lab: Lab, batch: dict[str, Any]
    ) -> None:
        first = lab.ok(lay_out(lab, batch, barcode_prefix="SCR1"))
        with lab.untouched():
            problem = lab.refused(lay_out(lab, batch), 409)
        assert "on plates already" in problem["detail"]
        assert lab.ok(cancel(lab, batch))["status"] == "cancelled"
        with lab.untouched():
            problem = lab.refused(lay_out(lab, batch, barcode_prefix="SCR1"), 422)
        assert codes(problem) == [("barcode_prefix", "/barcode_prefix")]
        assert first["plates"][0]["barcode"] in problem["detail"]
        second = lab.ok(lay_out(lab, batch, barcode_prefix="SCR2"))
        listed = lab.every("/v1/plates", batch=batch["id"])
        assert [row["status"] for row in listed] == ["cancelled", "issued"]
        assert lab.ok(lab.get(f"/v1/batches/{batch['id']}/plates"))["id"] == second["id"]
        (event,) = lab.events("plate_layout.changed")
        assert event["reason"] == "The wrong assay plates were ordered."

    def test_two_at_the_same_moment(self, lab: Lab, batch: dict[str, Any]) -> None:
        answers = at_once(*[lambda: lay_out(lab, batch)] * 2)
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        assert len(lab.every("/v1/plates", batch=batch["id"])) == 1

    def test_a_batch_that_was_called_off(self, lab: Lab, batch: dict[str, Any]) -> None:
        lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": "cancelled"}, 1))
        with lab.untouched():
            assert "cancelled" in lab.refused(lay_out(lab, batch), 409)["detail"]

    def test_calling_off_a_batch_calls_off_its_plates(
        self, lab: Lab, batch: dict[str, Any]
    ) -> None:
        lab.ok(lay_out(lab, batch))
        version = lab.ok(lab.get(f"/v1/batches/{batch['id']}"))["version"]
        lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": "cancelled"}, version))
        listed = lab.every("/v1/plates", batch=batch["id"])
        assert [row["status"] for row in listed] == ["cancelled"]
        lab.refused(lab.get(f"/v1/batches/{batch['id']}/plates"), 404)

    def test_what_is_on_plates_is_not_replaced(self, lab: Lab, batch: dict[str, Any]) -> None:
        lab.ok(lay_out(lab, batch))
        item = lab.ok(lab.get(f"/v1/batches/{batch['id']}"))["items"][0]["id"]
        path = f"/v1/batches/{batch['id']}/items/{item}/replacement"
        with lab.untouched():
            problem = lab.refused(lab.post(path, {"reason": "Out of stock"}), 409)
        assert f"/v1/batches/{batch['id']}/plates/cancellation" in problem["detail"]

    def test_nothing_to_cancel(self, lab: Lab, batch: dict[str, Any]) -> None:
        with lab.untouched():
            problem = lab.refused(cancel(lab, batch), 404)
        assert "on no plates yet" in problem["detail"]


class TestRefusals:
    """The words as a person at the bench reads them: names, numbers and what to do."""

    def test_every_refusal_names_what_is_wrong_and_the_fix(
        self, lab: Lab, batch: dict[str, Any], subtests: Any
    ) -> None:
        small = {"destination": "96-well 100 uL"}
        for body, error, words in [
            ({"dispenser": "Echo 999"}, ("dispenser", "/dispenser"), "take one of 'Echo 550'"),
            ({"destination": "6-well"}, ("destination", "/destination"), "no destination plate"),
            ({"format": 1536}, ("format", "/format"), "has 384 wells, not 1536"),
            ({"positive_control": {"compound": "Q", "dose_um": 1.0}},
             ("unknown_compound", "/positive_control/compound"), "no compound 'Q'"),
            ({"positive_control": {"compound": "E", "dose_um": 900.0}},
             ("dose", "/positive_control"), "E: 900 uM cannot be dispensed from"),
            ({"fraction": 0.05}, ("vehicle", "/fraction"), "over the limit of 0.500%"),
            ({"fraction": 0.0005}, ("vehicle", "/fraction"), "already bring 60 nL"),
            ({"layout": {"vehicle": 400}}, ("layout", "/layout"), "controls do not fit"),
            ({"layout": {"max_plates": 1}, "replicates": 3}, ("layout", "/layout"),
             "3 blocks fill 3 plates, of 1 allowed"),
            ({**small, "replicates": 3, "layout": {"vehicle": 75, "replicates_apart": False}},
             ("layout", "/layout"), "Block 1 (A + B in X) needs 99 wells"),
            ({"vehicle": "Methanol"}, ("stock", None), "no stock of Methanol"),
            ({"block_shape": "single"}, ("block_shape", "/block_shape"),
             "Block 1 (A + B in X): a single pair has one dose"),
            ({"barcode_prefix": "scr 1"}, ("string_pattern_mismatch", "/barcode_prefix"), ""),
        ]:  # fmt: skip
            with subtests.test(str(body)), lab.untouched():
                problem = lab.refused(lay_out(lab, batch, **body), 422)
                assert codes(problem)[0] == error, problem
                assert words in problem["detail"], problem
                assert "cmp_" not in problem["detail"]

    def test_doses_that_no_stock_reaches(self, lab: Lab) -> None:
        made = a_batch(lab, doses_um=[0.0001, 3.0])
        give_stocks(lab)
        with lab.untouched():
            problem = lab.refused(lay_out(lab, made), 422)
            tried = lab.ok(lay_out(lab, made, dry_run=True))
        # One error a compound, however many blocks it is in.
        assert codes(problem) == [("dose", None)] * 4
        assert problem["errors"][0]["message"].startswith("A: 0.0001 uM cannot be dispensed from")
        assert "in one drop." in problem["errors"][0]["message"]
        assert tried["conflicts"] == problem["errors"]

    def test_blocks_of_other_doses_than_the_limits_count(self, lab: Lab) -> None:
        made = a_batch(lab, limits={"block_shape": "matrix", "block_doses": 3})
        give_stocks(lab)
        problem = lab.refused(lay_out(lab, made), 422)
        assert codes(problem) == [("block_doses", "/block_shape")]
        assert (
            "with 3 doses of a compound, but A has 2 in block 1 (A + B in X)" in (problem["detail"])
        )
        lab.ok(lay_out(lab, made, block_shape="matrix"))

    def test_stocks_that_are_not_enough(self, lab: Lab) -> None:
        made = a_batch(lab)
        few = [{**each, "volume_nl": 15_010.0} if each["compound"] in "AB" else each
               for each in stocks()]  # fmt: skip
        give_stocks(lab, few)
        problem = lab.refused(lay_out(lab, made), 422)
        assert {error["code"] for error in problem["errors"]} == {"stock"}
        assert "A at 0.5 mM: the plates need" in problem["detail"]
        assert "15000 nL stay behind" in problem["detail"]
        tried = lab.ok(lay_out(lab, made, dry_run=True))
        assert tried["conflicts"] == problem["errors"]
        short = [need for need in tried["stocks"] if need["needed_nl"] > need["usable_nl"]]
        assert len(short) == len(problem["errors"])

    def test_cell_lines_that_share_a_plate_only_where_asked(self, lab: Lab) -> None:
        mixed = a_batch(lab, [("A", "B", "X"), ("A", "B", "Y")], plates=[1, 1])
        give_stocks(lab)
        problem = lab.refused(lay_out(lab, mixed, layout={"one_line_per_plate": True}), 422)
        assert "Plate 1 mixes the cell lines X, Y" in problem["detail"]
        (plate,) = lab.ok(lay_out(lab, mixed))["plates"]
        assert len(plate["cell_lines"]) == 2

    def test_what_is_not_said_and_not_known(self, lab: Lab, batch: dict[str, Any]) -> None:
        with lab.untouched():
            problem = lab.refused(lab.post(f"/v1/batches/{batch['id']}/plates", {}), 422)
        assert codes(problem) == [("missing", "/destination")]

    def test_plates_are_ones_own(self, lab: Lab, other_lab: Lab, batch: dict[str, Any]) -> None:
        layout = lab.ok(lay_out(lab, batch))
        plate = layout["plates"][0]
        other_lab.refused(other_lab.get(f"/v1/plates/{plate['id']}"), 404)
        assert other_lab.every("/v1/plates", barcode=plate["barcode"]) == []
        other_lab.refused(other_lab.get(f"/v1/batches/{batch['id']}/plates"), 404)


def test_finding_a_plate(lab: Lab, batch: dict[str, Any]) -> None:
    (plate,) = lab.ok(lay_out(lab, batch))["plates"]
    (found,) = lab.every("/v1/plates", barcode=plate["barcode"])
    assert (found["id"], found["format"], found["origin"]) == (plate["id"], 384, "issued")
    assert lab.every("/v1/plates", campaign=batch["campaign_id"]) == [found]
    assert lab.every("/v1/plates", batch="bat_x") == []
    response = lab.get(f"/v1/plates/{plate['id']}")
    assert response.headers["etag"] == '"1"'


def test_a_stock_in_an_unknown_plate_type_is_said_when_it_is_given(lab: Lab) -> None:
    open_campaign(lab)
    listed = [stock("A", 10.0, "A1", plate_type="384XX")]
    problem = lab.refused(put(lab, "/v1/stocks", {"stocks": listed}), 422)
    assert codes(problem) == [("stock", "/stocks/0")]
    assert "no source plate type '384XX'" in problem["detail"]
    assert len(BLOCKS) == 3
