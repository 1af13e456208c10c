"""What a submission refuses: it says where and what to do, and stores nothing."""

import gzip
import json

import pytest

from tests.lab import PAIR_HEADER, codes, column

UNDECLARED = "cell_line,compound_1,dose_1_um,response\nX,A,1,0.5\n"


@pytest.fixture
def campaign(lab):
    lab.compounds("Vincristine", "Vinblastine", "A")
    lab.cell_lines("A375", "X")
    names = ["Vincristine", "Vinblastine", "A"]
    return lab.campaign(compounds=names, cell_lines=["A375", "X"])


def send(lab, campaign, content, content_type="text/csv", **query):
    return lab.request(
        "POST",
        f"/v1/campaigns/{campaign['id']}/submissions",
        content=content if isinstance(content, bytes) else content.encode(),
        headers={"Content-Type": content_type},
        params=query,
    )


def refuse(lab, campaign, content, status=422, *more, **query):
    """The problem of a table that is refused and leaves nothing behind."""
    with lab.untouched():
        return lab.refused(send(lab, campaign, content, *more, **query), status)


def rows(*lines):
    return "\n".join([PAIR_HEADER, *lines]) + "\n"


ROWS = [
    # line, code, column, a word of the message
    ("X,A,-1,,,0.5", "dose_negative", "dose_1_um", "negative"),
    ("X,A,nan,,,0.5", "not_a_number", "dose_1_um", "no measurement"),
    ("X,A,1,,,NaN", "not_a_number", "viability_fraction", "delete the row"),
    ("X,A,1,,,inf", "not_a_number", "viability_fraction", "no measurement"),
    ("X,A,1,,,", "not_a_number", "viability_fraction", "empty"),
    ("X,A,1e9,,,0.5", "dose_implausible", "dose_1_um", "1 M"),
    ("X,A,1,,,50", "looks_like_percent", "viability_fraction", "unit='percent'"),
    ("X,A,1,a,2,0.5", "compound_twice", "compound_2", "twice"),
    (",A,1,,,0.5", "cell_line_missing", "cell_line", "name it"),
    ("X,,1,,,0.5", "compound_missing", "compound_1", "name it"),
    ("X,Vincristin,1,,,0.5", "unknown_compound", "compound", "Did you mean 'Vincristine'"),
    ("X,B,1,,,0.5", "unknown_compound", "compound", "add the compound to the campaign"),
    ("A735,A,1,,,0.5", "unknown_cell_line", "cell_line", "Did you mean 'A375'"),
    ("X,A,1,,", "truncated_file", "viability_fraction", "truncated"),
    ("X,A,1,,,0.5,7", "too_many_fields", "viability_fraction", "double quotes"),
]


class TestRows:
    def test_each_rule_names_row_column_and_fix(self, lab, campaign, subtests):
        for line, code, place, words in ROWS:
            with subtests.test(code + place):
                problem = refuse(lab, campaign, rows("X,A,1,,,0.5", line))
                (error,) = problem["errors"]
                assert (error["row"], error["column"], error["code"]) == (3, place, code)
                assert words in error["message"]
                assert problem["detail"].startswith("Nothing was stored. ")

    def test_equal_rows(self, lab, campaign):
        problem = refuse(lab, campaign, rows("X,A,1,,,0.5", "x, a ,1.0,,,0.6"))
        (error,) = problem["errors"]
        assert (error["code"], error["row"]) == ("duplicate_row", 3)
        assert "repeats='replicates'" in error["message"]

    def test_two_names_of_one_compound_in_one_well(self, lab, campaign):
        lab.ok(lab.patch(f"/v1/compounds/{campaign['compounds'][0]['id']}",
                         {"add_aliases": ["Oncovin"]}, 1))  # fmt: skip
        problem = refuse(lab, campaign, rows("X,Vincristine,1,Oncovin,1,0.5"))
        assert problem["errors"][0]["code"] == "same_compound"
        assert "'Oncovin' and 'Vincristine'" in problem["detail"]

    def test_labels_longer_than_the_database_holds(self, lab, campaign, subtests):
        for label in ("plate", "well", "replicate", "block"):
            header = f"cell_line,compound_1,dose_1_um,viability_fraction,{label}\n"
            with subtests.test(label):
                problem = refuse(lab, campaign, f"{header}X,A,1,0.5,{'p' * 201}\n")
                (error,) = problem["errors"]
                assert (error["row"], error["column"]) == (2, label)
                assert "shorten it to 200" in error["message"]
                lab.ok(send(lab, campaign, f"{header}X,A,1,0.5,{'p' * 200}\n"))

    def test_all_problems_are_counted_and_the_first_hundred_told(self, lab, campaign):
        wrong = [f"X,A,{-i},,,0.5" for i in range(1, 151)] + ["X,Q,1,,,1"] * 1
        problem = refuse(lab, campaign, rows(*wrong))
        assert problem["error_count"] == 151
        assert column(problem["errors"], "row") == list(range(2, 102))
        assert "(150 more problems)" in problem["detail"]

    def test_one_bad_row_in_the_last_of_many_chunks(self, lab, campaign):
        good = [f"X,A,{i + 1},,,0.5" for i in range(4_500)]
        problem = refuse(lab, campaign, rows(*good, "X,A,-1,,,0.5"))
        assert (problem["error_count"], problem["errors"][0]["row"]) == (1, 4_502)


class TestScale:
    def test_what_is_not_declared_is_not_guessed(self, lab, campaign):
        problem = refuse(lab, campaign, UNDECLARED)
        assert column(problem["errors"], "code") == ["quantity_missing", "unit_missing"]
        assert "quantity='viability' or 'inhibition'" in problem["detail"]
        problem = refuse(lab, campaign, UNDECLARED, quantity="viability")
        assert column(problem["errors"], "code") == ["unit_missing"]

    def test_header_against_declaration(self, lab, campaign):
        problem = refuse(lab, campaign, rows("X,A,1,,,0.5"), unit="percent")
        assert column(problem["errors"], "code") == ["unit_contradiction"]

    def test_a_control_that_would_be_dead(self, lab, campaign):
        problem = refuse(lab, campaign, rows("X,,,,,0.01"))
        assert column(problem["errors"], "code") == ["vehicle_contradicts_scale"]
        lab.ok(send(lab, campaign, rows("X,,,,,0.01"), confirm_scale=True))

    def test_percent_that_look_like_fractions(self, lab, campaign):
        lines = "".join(f"X,A,{i + 1},{0.03 * i}\n" for i in range(25))
        table = f"cell_line,compound_1,dose_1_um,viability_percent\n{lines}"
        problem = refuse(lab, campaign, table)
        assert column(problem["errors"], "code") == ["looks_like_fraction"]
        lab.ok(send(lab, campaign, table, confirm_scale=True))

    def test_a_declaration_that_is_none(self, lab, campaign, subtests):
        for name, value in [
            ("quantity", "growth"), ("unit", "permille"), ("dose_unit", "mg"),
            ("decimal", ";"), ("repeats", "yes"), ("dry_run", "perhaps"), ("cell_line", ""),
        ]:  # fmt: skip
            with subtests.test(name):
                problem = refuse(lab, campaign, UNDECLARED, **{name: value})
                assert problem["errors"][0]["pointer"] == f"query/{name}"


class TestFiles:
    def test_what_is_no_table(self, lab, campaign, subtests):
        cp1252 = "cell_line,compound_1,dose_1_µM,viability_fraction\nX,A,1,0.5\n"
        for content, code, words in [
            (b"", "empty", "header line"),
            (b"\n\n  \n", "empty", "header line"),
            (f"{PAIR_HEADER}\n".encode(), "no_rows", "measurements below it"),
            (cp1252.encode("cp1252"), "encoding", "UTF-8"),
            (rows("X,A,1,,,0.5").encode("utf-16"), "encoding_utf16", "UTF-16"),
            (b"PK\x03\x04...", "not_text", "Excel"),
            (gzip.compress(rows("X,A,1,,,0.5").encode()), "not_text", "gzip"),
            (rows("X,A,1,,,0.5").encode() + b"\0", "nul_byte", "zero byte"),
            (rows("X,A,1,,,0.5").replace(",", "|").encode(), "separator", "comma"),
            (rows("X;A;1;;;0.5").encode(), "truncated_file", "fields"),
            (b"sep=,\n" + rows("X,A,1,,,0.5").encode(), "separator", "delete it"),
            (rows('X,"A,1,,,0.5').encode(), "quotes", "double quote"),
            (b"cell_line,compound_1,dose_1,viability_fraction\nX,A,1,1\n",
             "dose_unit_missing", "dose_1_um"),
            (b"cell_line,compound_1,dose_1_um\nX,A,1\n", "missing_column", "viability_fraction"),
            (b"compound_1,dose_1_um,viability_fraction\nA,1,1\n", "missing_column", "cell line"),
            (b"cell_line,compound_1,dose_1_um,viability_fraction,viability_percent\nX,A,1,1,100\n",
             "ambiguous_column", "both mean value"),
        ]:  # fmt: skip
            with subtests.test(code):
                problem = refuse(lab, campaign, content)
                assert problem["errors"][0]["code"] == code
                assert words in problem["errors"][0]["message"]

    def test_other_content_types(self, lab, campaign, subtests):
        content = rows("X,A,1,,,0.5")
        for content_type in (
            "application/vnd.ms-excel", "multipart/form-data; boundary=x", "", "csv",
            "text/csv; charset=latin-1", "text/csv; charset=utf-16", "text/html",
        ):  # fmt: skip
            with subtests.test(content_type):
                problem = refuse(lab, campaign, content, 415, content_type)
                assert "utf-8" in problem["detail"] or "text/csv" in problem["detail"]

    def test_more_rows_than_allowed(self, lab, campaign):
        lab.parts.settings.max_upload_rows = 3
        problem = refuse(lab, campaign, rows(*[f"X,A,{i + 1},,,0.5" for i in range(4)]))
        assert problem["errors"][0]["code"] == "too_many_rows"
        lab.ok(send(lab, campaign, rows(*[f"X,A,{i + 1},,,0.5" for i in range(3)])))

    def test_more_bytes_than_allowed(self, lab, campaign):
        table = rows(*[f"X,A,{i + 1},,,0.5" for i in range(50)])
        lab.parts.settings.max_upload_bytes = len(table) - 1
        problem = refuse(lab, campaign, table, 413)
        assert "Split it" in problem["detail"]
        lab.parts.settings.max_upload_bytes = len(table)
        lab.ok(send(lab, campaign, table))

    def test_a_table_beyond_the_json_limit_is_still_read(self, lab, campaign):
        lab.parts.settings.max_body_bytes = 100
        table = rows(*[f"X,A,{i + 1},,,0.5" for i in range(50)])
        assert lab.ok(send(lab, campaign, table))["n_bytes"] == len(table)


def well(**more):
    return {"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1}], "value": 0.5, **more}


def body(*wells, **more):
    return json.dumps(
        {"quantity": "viability", "unit": "fraction", "measurements": list(wells)} | more
    )


JSON = [
    # body, code, pointer
    (body(), "too_short", "/measurements"),
    (body(well(), unit=None), "literal_error", "/unit"),
    (body(well(), well(value="0.5")), "float_type", "/measurements/1/value"),
    (body(well(), well(value=True)), "float_type", "/measurements/1/value"),
    (body(well(cell_line=None)), "string_type", "/measurements/0/cell_line"),
    (body(well(color="red")), "extra_forbidden", "/measurements/0/color"),
    (body(well(doses=[{"compound": "A"}])), "missing", "/measurements/0/doses/0/dose_um"),
    (body(well(doses=[{"compound": c, "dose_um": 1} for c in "ABCD"])), "too_long",
     "/measurements/0/doses"),
    (body(well(), well(cell_line="Q")), "unknown_cell_line", "/measurements/1/cell_line"),
    (body(well(doses=[{"compound": "Q", "dose_um": 1}])), "unknown_compound",
     "/measurements/0/doses"),
    (body(well(doses=[{"compound": "A", "dose_um": -1}])), "dose_negative",
     "/measurements/0/doses/0/dose_um"),
    (body(well(doses=[{"compound": "A", "dose_um": 1}, {"compound": "a", "dose_um": 2}])),
     "compound_twice", "/measurements/0/doses/1"),
    (body(well(value=50)), "looks_like_percent", "/measurements/0/value"),
    (body(well(), well(value=0.7)), "duplicate_row", "/measurements/1"),
]  # fmt: skip


class TestJson:
    def test_each_rule_names_its_place(self, lab, campaign, subtests):
        for content, code, pointer in JSON:
            with subtests.test(code + pointer):
                problem = refuse(lab, campaign, content, 422, "application/json")
                assert codes(problem)[0] == (code, pointer)

    def test_what_is_no_json(self, lab, campaign, subtests):
        for content in ["", "{", "[1, 2", body(well()).replace("0.5", "NaN"), "\x00", "nul"]:
            with subtests.test(content[:10]):
                refuse(lab, campaign, content, 400, "application/json")


class TestCampaigns:
    def test_that_are_closed(self, lab, campaign):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        problem = refuse(lab, campaign, rows("X,A,1,,,0.5"), 409)
        assert "is closed" in problem["detail"]
        refuse(lab, campaign, rows("X,A,1,,,0.5"), 409, dry_run=True)

    def test_that_are_paused_or_drafts_take_results(self, lab, campaign):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "paused"}, 1))
        lab.ok(send(lab, campaign, rows("X,A,1,,,0.5")))

    def test_that_do_not_exist(self, lab, campaign):
        refuse(lab, {"id": "cam_00000000000000000000000000"}, rows("X,A,1,,,0.5"), 404)

    def test_a_compound_that_is_registered_but_not_in_the_campaign(self, lab, campaign):
        lab.compounds("D")
        problem = refuse(lab, campaign, rows("X,D,1,,,0.5"))
        assert problem["errors"][0]["code"] == "unknown_compound"
