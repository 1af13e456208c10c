"""GET and PUT of /v1/labware and /v1/stocks: one table of each for a workspace."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from service.plates.labware import DEFAULT_LABWARE, Labware
from tests.lab import Lab, at_once, codes
from tests.service.batches.plates_bench import put, stock, stocks


def read(lab: Lab, path: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.ok(lab.get(path))
    return found


class TestLabware:
    def test_it_begins_with_the_table_of_the_service(self, lab: Lab) -> None:
        response = lab.get("/v1/labware")
        table = lab.ok(response)
        assert response.headers["etag"] == '"0"'
        assert table.pop("version") == 0
        assert Labware.from_dict(table) == DEFAULT_LABWARE

    def test_an_edited_table_stays(self, lab: Lab, other_lab: Lab) -> None:
        table = read(lab, "/v1/labware")
        del table["version"]
        table["destinations"].append(
            {"name": "384 black", "wells": 384, "assay_nl": 40_000.0, "max_total_nl": 200.0,
             "vehicle_limit": 0.004})  # fmt: skip
        response = put(lab, "/v1/labware", table, 0)
        assert lab.ok(response) == {**table, "version": 1}
        assert response.headers["etag"] == '"1"'
        assert read(lab, "/v1/labware") == {**table, "version": 1}
        assert read(other_lab, "/v1/labware")["version"] == 0
        (event,) = lab.events("labware_table.created")
        assert event["new"]["definition"]["destinations"][-1]["name"] == "384 black"

    def test_the_version_that_was_read_is_asked_for(self, lab: Lab) -> None:
        table = read(lab, "/v1/labware")
        del table["version"]
        with lab.untouched():
            lab.refused(lab.request("PUT", "/v1/labware", json=table), 428)
            lab.refused(put(lab, "/v1/labware", table, 1), 412)
        answers = at_once(*[lambda: put(lab, "/v1/labware", table, 0)] * 2)
        assert sorted(answer.status_code for answer in answers)[0] == 200
        assert sorted(answer.status_code for answer in answers)[1] in (409, 412)
        with lab.untouched():
            lab.refused(put(lab, "/v1/labware", table, 0), 412)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda t: t["dispensers"][0].update(name="Echo 555"), "names dispensers twice"),
            (lambda t: t["dispensers"][0].update(max_transfer_nl=1.0), "cannot give one drop"),
            (lambda t: t["source_types"][0].update(dead_volume_nl=65_000.0), "leaves nothing"),
            (lambda t: t["destinations"][0].update(wells=6), "96, 384 or 1536"),
            (lambda t: t["destinations"][0].update(vehicle_limit=1.0), "less than 1"),
            (lambda t: t.update(dispensers=[]), "at least 1 item"),
        ],
    )
    def test_a_table_that_cannot_be(self, lab: Lab, change: Any, words: str) -> None:
        table = copy.deepcopy(read(lab, "/v1/labware"))
        del table["version"]
        change(table)
        with lab.untouched():
            assert words in lab.refused(put(lab, "/v1/labware", table, 0), 422)["detail"]

    def test_a_plate_type_that_stocks_are_in(self, lab: Lab) -> None:
        lab.compounds("A")
        lab.ok(put(lab, "/v1/stocks", {"stocks": [stock("A", 10.0, "A1")]}))
        table = read(lab, "/v1/labware")
        del table["version"]
        table["source_types"] = []
        with lab.untouched():
            problem = lab.refused(put(lab, "/v1/labware", table, 0), 422)
        assert codes(problem) == [("labware", "/source_types")]
        assert "'384PP_DMSO2'" in problem["detail"]


class TestStocks:
    def test_what_was_given_is_there_with_ids_and_names(self, lab: Lab, other_lab: Lab) -> None:
        a, _ = lab.compounds("A", "B")
        assert read(lab, "/v1/stocks") == {"stocks": [], "version": 0}
        given = [
            stock("a", 10.0, "a01"),
            stock("B", 0.5, "B2", volume_nl=20_000.0),
            stock("DMSO", 0.0, "P24"),
            {"compound": "B", "mm": 10.0, "volume_nl": 5e5},
        ]
        found = lab.ok(put(lab, "/v1/stocks", {"stocks": given}, 0))
        assert found == read(lab, "/v1/stocks")
        assert found["version"] == 1
        first = found["stocks"][0]
        assert (first["compound"], first["name"], first["well"]) == (a, "A", "A1")
        assert (found["stocks"][2]["compound"], found["stocks"][3]["well"]) == ("DMSO", None)
        assert read(other_lab, "/v1/stocks")["stocks"] == []

    def test_what_cannot_be(self, lab: Lab, subtests: Any) -> None:
        lab.compounds("Imatinib", "B")
        good = stock("B", 10.0, "A1")
        for bad, error, words in [
            (stock("Imatinb", 10.0, "A2"), ("unknown_compound", "/stocks/1/compound"),
             "Did you mean 'Imatinib'?"),
            (stock("B", 1.0, "A01"), ("stock", "/stocks/1"),
             "Well A1 of SRC1 is listed twice, here and in entry 0"),
            (stock("B", 1.0, "Q1"), ("stock", "/stocks/1"), "ends at P24; it has no well Q1"),
            (stock("B", 1.0, "A2", volume_nl=70_000.0), ("stock", "/stocks/1"),
             "Well A2 of SRC1 is said to hold 70000 nL of B"),
            (stock("B", 1.0, "A2", plate=None), ("stock", "/stocks/1"),
             "The stock of B needs plate, plate type and well"),
            (stock("B", -1.0, "A2"), ("greater_than_equal", "/stocks/1/mm"), "0"),
            (stock("B", 1.0, "2A"), ("string_pattern_mismatch", "/stocks/1/well"), ""),
        ]:  # fmt: skip
            with subtests.test(words), lab.untouched():
                problem = lab.refused(put(lab, "/v1/stocks", {"stocks": [good, bad]}, 0), 422)
                assert codes(problem) == [error]
                assert words in problem["detail"]
                assert problem["errors"][0]["row"] == 1

    def test_all_of_them_at_once(self, lab: Lab) -> None:
        with lab.untouched():
            problem = lab.refused(put(lab, "/v1/stocks", {"stocks": stocks()}, 0), 422)
        assert problem["error_count"] == 10  # the vehicle is no compound

    def test_the_version_that_was_read_is_asked_for(self, lab: Lab) -> None:
        lab.ok(put(lab, "/v1/stocks", {"stocks": []}, 0))
        with lab.untouched():
            lab.refused(put(lab, "/v1/stocks", {"stocks": []}, 0), 412)
            lab.refused(lab.request("PUT", "/v1/stocks", json={"stocks": []}), 428)
