"""Tables of other systems, read by a map that is data; errors name both columns."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from service.assays.field_maps.rules import faults, ready_maps
from tests.lab import Lab, codes

COLUMNS = [
    {"column": "Zelllinie", "field": "cell_line"},
    {"column": "Substanz A", "field": "compound_1"},
    {"column": "Konz. A [µM]", "field": "dose_1_um"},
    {"column": "Substanz B", "field": "compound_2", "required": False},
    {"column": "Konz. B [nM]", "field": "dose_2_nm", "required": False},
    {"column": "Messwert", "field": "response"},
    {"column": "Platte", "field": "plate", "required": False},
]
DEFINITION = {"columns": COLUMNS, "quantity": "inhibition", "unit": "percent", "decimal": ","}
HEADER = "Zelllinie;Substanz A;Konz. A [µM];Substanz B;Konz. B [nM];Messwert;viability_fraction"
TABLE = f"{HEADER}\nX;A;0,1;B;1000;40;nonsense\nX;A;0,1;;;12,5;\n"


def save(lab: Lab, name: str = "Ours", **definition: Any) -> dict[str, Any]:
    body = {"name": name, "definition": {**DEFINITION, **definition}}
    row: dict[str, Any] = lab.ok(lab.post("/v1/field-maps", body))
    return row


class TestReading:
    def test_a_table_is_read_by_its_map(self, lab: Lab) -> None:
        saved, campaign = save(lab), lab.campaign()
        submission = lab.ok(lab.submit(campaign["id"], TABLE, field_map="ours"))
        assert submission["field_map_id"] == saved["id"]
        assert (submission["quantity"], submission["unit"]) == ("inhibition", "percent")
        # A column that the map does not read is not read, whatever its name.
        assert submission["ignored_columns"] == ["viability_fraction"]
        pair, single = lab.wells(campaign["id"])
        assert pair["viability"] == pytest.approx(0.6)
        assert sorted(dose["dose_um"] for dose in pair["doses"]) == [0.1, 1.0]
        assert (single["viability"], single["raw_value"]) == (pytest.approx(0.875), 12.5)

    def test_names_match_whatever_their_case_and_micro_sign(self, lab: Lab) -> None:
        save(lab)
        campaign = lab.campaign()
        other = TABLE.replace("Konz. A [µM]", "KONZ. A [μM]").replace("Zelllinie", " zelllinie ")
        lab.ok(lab.submit(campaign["id"], other, field_map="Ours"))

    def test_the_same_bytes_again(self, lab: Lab) -> None:
        save(lab)
        campaign = lab.campaign()
        first = lab.ok(lab.submit(campaign["id"], TABLE, field_map="Ours"))
        with lab.untouched():
            again = lab.ok(lab.submit(campaign["id"], TABLE, field_map="Ours"))
            assert (again["id"], again["outcome"]) == (first["id"], "existing")
        save(lab, cell_line=None, description="another version")
        with lab.untouched():
            lab.refused(lab.submit(campaign["id"], TABLE, field_map="Ours"), 409)
            known = lab.ok(lab.submit(campaign["id"], TABLE, field_map=first["field_map_id"]))
            assert known["outcome"] == "existing"

    def test_what_the_map_declares_must_not_be_contradicted(self, lab: Lab) -> None:
        save(lab)
        campaign = lab.campaign()
        with lab.untouched():
            answer = lab.submit(campaign["id"], TABLE, field_map="Ours", unit="fraction")
            assert codes(lab.refused(answer, 422)) == [("declaration", "query/unit")]
        lab.ok(lab.submit(campaign["id"], TABLE, field_map="Ours", unit="percent"))

    def test_a_scale_that_nobody_declares_is_not_guessed(self, lab: Lab) -> None:
        save(lab, quantity=None, unit=None)
        campaign = lab.campaign()
        problem = lab.refused(lab.submit(campaign["id"], TABLE, field_map="Ours"), 422)
        assert {e["code"] for e in problem["errors"]} == {"quantity_missing", "unit_missing"}
        declared = {"quantity": "viability", "unit": "percent"}
        lab.ok(lab.submit(campaign["id"], TABLE, field_map="Ours", **declared))

    def test_unknown_maps_and_json(self, lab: Lab, other_lab: Lab) -> None:
        saved, campaign = save(other_lab), lab.campaign()
        for name in ("Ours", saved["id"]):
            lab.refused(lab.submit(campaign["id"], TABLE, field_map=name), 404)
        save(lab)
        body = {"quantity": "viability", "unit": "fraction", "measurements": [
            {"cell_line": "X", "doses": [], "value": 1.0}]}  # fmt: skip
        path = f"/v1/campaigns/{campaign['id']}/submissions"
        answer = lab.post(path, body, params={"field_map": "Ours"})
        assert codes(lab.refused(answer, 422)) == [("field_map", "query/field_map")]


class TestErrors:
    """Each names the column as its owner knows it, and as we read it."""

    @pytest.mark.parametrize(
        ("row", "column", "words"),
        [
            ("X;A;viel;;;40;", "Konz. A [µM]", "dose_1_um"),
            ("X;A;0,1;B;-3;40;", "Konz. B [nM]", "dose_2_nm"),
            ("X;A;0,1;;;NaN;", "Messwert", "response"),
            (";A;0,1;;;40;", "Zelllinie", "cell_line"),
            ("Q;A;0,1;;;40;", "Zelllinie", "cell_line"),
            ("X;Q;0,1;;;40;", "Substanz A | Substanz B", "compound_1"),
        ],
    )
    def test_in_a_row(self, lab: Lab, row: str, column: str, words: str) -> None:
        save(lab)
        campaign = lab.campaign()
        answer = lab.submit(campaign["id"], f"{HEADER}\n{row}\n", field_map="Ours")
        (error,) = lab.refused(answer, 422)["errors"]
        assert (error["row"], error["column"]) == (2, column)
        assert words in error["message"]
        assert column.split(" | ")[0] in error["message"]

    def test_a_missing_column(self, lab: Lab) -> None:
        save(lab)
        campaign = lab.campaign()
        table = TABLE.replace("Messwert", "Wert")
        (error,) = lab.refused(lab.submit(campaign["id"], table, field_map="Ours"), 422)["errors"]
        assert (error["code"], error["column"]) == ("missing_column", "Messwert")
        for word in ("'Messwert'", "response", "Wert", "'Ours'"):
            assert word in error["message"]

    def test_a_column_that_is_there_twice(self, lab: Lab) -> None:
        save(lab)
        campaign = lab.campaign()
        table = TABLE.replace("viability_fraction", "MESSWERT")
        (error,) = lab.refused(lab.submit(campaign["id"], table, field_map="Ours"), 422)["errors"]
        assert (error["code"], error["column"]) == ("duplicate_column", "Messwert")


class TestSaving:
    def test_versions(self, lab: Lab) -> None:
        first = save(lab)
        assert first["version"] == 1
        same = lab.post("/v1/field-maps", {"name": " OURS", "definition": DEFINITION})
        assert (same.status_code, same.json()) == (200, first)
        second = save(lab, unit="fraction")
        assert (second["version"], second["id"] != first["id"]) == (2, True)
        assert lab.every("/v1/field-maps", name="ours") == [first, second]
        assert lab.ok(lab.get(f"/v1/field-maps/{first['id']}")) == first

    @pytest.mark.parametrize(
        ("change", "code", "pointer"),
        [
            ({"columns": [*COLUMNS, {"column": "z", "field": "colour"}]}, "unknown_field",
             "/definition/columns/7/field"),
            ({"columns": [*COLUMNS, {"column": "ZELLLINIE", "field": "well"}]}, "repeated_column",
             "/definition/columns/7/column"),
            ({"columns": [*COLUMNS, {"column": "z", "field": "drug1"}]}, "ambiguous_column",
             "/definition/columns/7/field"),
            ({"columns": COLUMNS[:5]}, "missing_column", "/definition/columns"),
            ({"columns": COLUMNS[1:]}, "missing_column", "/definition/columns"),
            ({"columns": [*COLUMNS[:4], *COLUMNS[5:]]}, "missing_column",
             "/definition/columns/3/field"),
            ({"dose_unit": "nM"}, "dose_unit_contradiction", "/definition/columns/2/field"),
            ({"dose_unit": "furlongs"}, "dose_unit_unknown", "/definition/dose_unit"),
            ({"cell_line": "A375"}, "cell_line_contradiction", "/definition/columns/0/field"),
        ],
    )  # fmt: skip
    def test_a_map_that_could_not_work(
        self, lab: Lab, change: dict[str, Any], code: str, pointer: str
    ) -> None:
        with lab.untouched():
            body = {"name": "Ours", "definition": {**DEFINITION, **change}}
            problem = lab.refused(lab.post("/v1/field-maps", body), 422)
        assert (code, pointer) in codes(problem)

    def test_a_contradicted_scale(self, lab: Lab) -> None:
        columns = [
            {**one, "field": "viability_percent"} if one["field"] == "response" else one
            for one in COLUMNS
        ]
        body = {"name": "Ours", "definition": {**DEFINITION, "columns": columns}}
        problem = lab.refused(lab.post("/v1/field-maps", body), 422)
        assert [error["code"] for error in problem["errors"]] == ["quantity_contradiction"]


class TestReady:
    def test_there_is_one_for_each_system(self) -> None:
        assert list(ready_maps()) == ["benchling", "cdd_vault", "openbis", "senaite"]

    @pytest.mark.parametrize("name", ["benchling", "cdd_vault", "openbis", "senaite"])
    def test_one_call_makes_it_and_it_reads_a_table(self, lab: Lab, name: str) -> None:
        assert faults(ready_maps()[name]) == []
        made = lab.ok(lab.post("/v1/field-maps", {"name": "Theirs", "ready": name}))
        campaign = lab.campaign()
        table = _table(made["definition"]["columns"])
        submission = lab.ok(lab.submit(campaign["id"], table, field_map="Theirs"))
        assert (submission["n_measurements"], submission["ignored_columns"]) == (1, [])
        (well,) = lab.wells(campaign["id"])
        assert sorted(dose["dose_um"] for dose in well["doses"]) == [0.1, 1.0]

    def test_they_are_listed(self, lab: Lab) -> None:
        items = lab.ok(lab.get("/v1/ready-field-maps"))["items"]
        assert [item["name"] for item in items] == list(ready_maps())

    def test_what_there_is_not(self, lab: Lab) -> None:
        for body in ({"name": "x", "ready": "sapphire"}, {"name": "x"},
                     {"name": "x", "ready": "openbis", "definition": DEFINITION}):  # fmt: skip
            lab.refused(lab.post("/v1/field-maps", body), 422)


def _table(columns: list[dict[str, Any]]) -> str:
    """One row of a pair, under their names."""
    values = {"cell line": "X", "compound 1": "A", "dose 1": "0.1", "compound 2": "B",
              "dose 2": "1", "plate": "P1", "well": "A1", "replicate": "1",
              "block": "b1"}  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column["column"] for column in columns])
    writer.writerow([_value(column["field"], values) for column in columns])
    return text.getvalue()


def _value(field: str, values: dict[str, str]) -> str:
    from service.assays.tables_in.aliases import role_of

    role = role_of(field)
    assert role is not None
    return values.get(role.meaning, "0.5" if "fraction" in field else "50")
