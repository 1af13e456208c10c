"""POST /v1/campaigns/{id}/submissions: tables as people have them, stored exactly once."""

import hashlib
import json

import pytest

from tests.lab import PAIR_HEADER, at_once, codes, column

OWN = (
    f"{PAIR_HEADER}\n"
    "X,A,0.1,,,0.9\n"  # a single agent
    "Y,B,1,A,0.1,0.25\n"  # a pair, its compounds in the other order
    "X,,,,,1.0\n"  # a vehicle control
)
SYNERGYFINDER = (
    "block_id,drug_row,drug_col,conc_r,conc_c,response,conc_unit,cell_line_name\n"
    "1,A,B,0,0,0,nM,X\n"
    "1,A,B,100,0,10,nM,X\n"
    "1,A,B,100,1000,75,nM,X\n"
)


@pytest.fixture
def campaign(lab):
    return lab.campaign()


@pytest.fixture
def ids(campaign):
    return {row["name"]: row["id"] for row in campaign["compounds"] + campaign["cell_lines"]}


def path(campaign):
    return f"/v1/campaigns/{campaign['id']}/submissions"


def send(lab, campaign, content, content_type="text/csv", **query):
    headers = {"Content-Type": content_type}
    return lab.request("POST", path(campaign), content=content, headers=headers, params=query)


def send_json(lab, campaign, *measurements, quantity="viability", unit="fraction", **query):
    body = {"quantity": quantity, "unit": unit, "measurements": list(measurements)}
    return lab.request("POST", path(campaign), json=body, params=query)


def plain(wells, ids):
    """(line, {compound: dose}, viability, raw value) of each well, by name."""
    names = {identifier: name for name, identifier in ids.items()}
    return [
        (
            names[well["cell_line"]],
            {names[dose["compound"]]: dose["dose_um"] for dose in well["doses"]},
            well["viability"],
            well["raw_value"],
        )
        for well in wells
    ]


class TestTables:
    def test_our_own_spelling(self, lab, campaign, ids):
        response = send(lab, campaign, OWN.encode(), note="plate 1")
        submission = lab.ok(response)
        assert response.status_code == 201
        assert response.headers["location"] == f"/v1/submissions/{submission['id']}"
        assert submission["outcome"] == "stored"
        assert (submission["n_measurements"], submission["n_bytes"]) == (3, len(OWN))
        assert submission["sha256"] == hashlib.sha256(OWN.encode()).hexdigest()
        assert (submission["quantity"], submission["unit"]) == ("viability", "fraction")
        assert submission["note"] == "plate 1"
        wells = lab.wells(campaign["id"])
        assert plain(wells, ids) == [
            ("X", {"A": 0.1}, 0.9, 0.9),
            ("Y", {"A": 0.1, "B": 1.0}, 0.25, 0.25),
            ("X", {}, 1.0, 1.0),
        ]
        assert column(wells, "row") == [2, 3, 4]
        assert column(wells, "version") == [1, 1, 1]

    def test_synergyfinders_spelling(self, lab, campaign, ids):
        answer = send(lab, campaign, SYNERGYFINDER.encode(), quantity="inhibition", unit="percent")
        assert lab.ok(answer)["n_measurements"] == 3
        assert plain(lab.wells(campaign["id"]), ids) == [
            ("X", {}, 1.0, 0.0),
            ("X", {"A": 0.1}, 0.9, 10.0),
            ("X", {"A": 0.1, "B": 1.0}, 0.25, 75.0),
        ]
        assert column(lab.wells(campaign["id"]), "block") == ["1", "1", "1"]

    @pytest.mark.parametrize("media_type", ["text/tab-separated-values", "text/plain", "text/csv"])
    def test_tabs(self, lab, campaign, ids, media_type):
        content = OWN.replace(",", "\t").encode()
        assert lab.ok(send(lab, campaign, content, media_type))["media_type"] == media_type
        assert column(lab.wells(campaign["id"]), "viability") == [0.9, 0.25, 1.0]

    def test_a_european_spreadsheet(self, lab, campaign):
        content = "\ufeffcell_line;compound_1;dose_1_µM;viability_percent\r\nX;A;0,1;42,5\r\n"
        lab.ok(send(lab, campaign, content.encode(), "text/csv; charset=UTF-8", decimal=","))
        (well,) = lab.wells(campaign["id"])
        assert (well["doses"][0]["dose_um"], well["viability"]) == (0.1, 0.425)

    @pytest.mark.parametrize(
        ("value", "quantity", "unit", "viability"),
        [
            (0.25, "viability", "fraction", 0.25),
            (25, "viability", "percent", 0.25),
            (0.75, "inhibition", "fraction", 0.25),
            (75, "inhibition", "percent", 0.25),
            (-12.5, "inhibition", "percent", 1.125),
        ],
    )
    def test_scales(self, lab, campaign, value, quantity, unit, viability):
        declared = f"cell_line,compound_1,dose_1_um,response\nX,A,1,{value}\n"
        lab.ok(send(lab, campaign, declared.encode(), quantity=quantity, unit=unit))
        named = f"cell_line,compound_1,dose_1_um,{quantity}_{unit}\nX,A,1,{value}\n"
        lab.ok(send(lab, campaign, named.encode()))
        item = {"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1}], "value": value}
        lab.ok(send_json(lab, campaign, item, quantity=quantity, unit=unit))
        assert column(lab.wells(campaign["id"]), "viability") == [viability] * 3
        assert column(lab.wells(campaign["id"]), "raw_value") == [value] * 3

    def test_one_cell_line_for_the_whole_table(self, lab, campaign, ids):
        content = b"compound_1,dose_1_um,viability_fraction\nA,1,0.5\n"
        lab.ok(send(lab, campaign, content, cell_line="Y"))
        assert column(lab.wells(campaign["id"]), "cell_line") == [ids["Y"]]

    def test_names_in_any_spelling_and_ids(self, lab, campaign, ids):
        content = f"{PAIR_HEADER}\n x ,a,1,{ids['B']},1,0.5\n"
        lab.ok(send(lab, campaign, content.encode()))
        assert plain(lab.wells(campaign["id"]), ids)[0][:2] == ("X", {"A": 1.0, "B": 1.0})

    def test_three_compounds(self, lab, campaign, ids):
        header = "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,compound_3,dose_3_um"
        content = f"{header},viability_fraction\nX,C,3,A,1,B,2,0.1\nX,C,3,,,A,1,0.2\n"
        lab.ok(send(lab, campaign, content.encode()))
        wells = lab.wells(campaign["id"])
        assert [doses for _, doses, _, _ in plain(wells, ids)] == [
            {"A": 1.0, "B": 2.0, "C": 3.0}, {"A": 1.0, "C": 3.0},
        ]  # fmt: skip
        for well in wells:
            order = column(well["doses"], "compound")
            assert order == sorted(order)

    def test_plates_wells_replicates_and_what_is_ignored(self, lab, campaign):
        header = "cell_line,compound_1,dose_1_um,viability_fraction,plate,well,replicate,operator"
        content = f"{header}\nX,A,1,0.5,P1,B03,1,Kim\nX,A,1,0.6,P1,B04,2,Kim\n"
        submission = lab.ok(send(lab, campaign, content.encode()))
        assert submission["ignored_columns"] == ["operator"]
        wells = lab.wells(campaign["id"])
        assert [(w["plate"], w["well"], w["replicate"], w["block"]) for w in wells] == [
            ("P1", "B03", "1", None), ("P1", "B04", "2", None),
        ]  # fmt: skip

    def test_equal_rows_as_replicates(self, lab, campaign):
        content = f"{PAIR_HEADER}\nX,A,1,,,0.5\nX,A,1,,,0.5\n".encode()
        lab.ok(send(lab, campaign, content, repeats="replicates"))
        assert column(lab.wells(campaign["id"]), "replicate") == ["1", "2"]

    def test_more_rows_than_one_chunk(self, lab, campaign):
        rows = "".join(f"X,A,{i + 1},,,0.{i % 9}\n" for i in range(4_100))
        submission = lab.ok(send(lab, campaign, f"{PAIR_HEADER}\n{rows}".encode()))
        assert submission["n_measurements"] == 4_100
        assert column(lab.wells(campaign["id"], limit=500), "row") == list(range(2, 4_102))


class TestJson:
    def test_wells_as_objects(self, lab, campaign, ids):
        pair = [{"compound": "B", "dose_um": 1.0}, {"compound": "a", "dose_um": 0.1}]
        response = send_json(
            lab,
            campaign,
            {"cell_line": "X", "value": 100.0},
            {"cell_line": "X", "doses": pair, "value": 25, "plate": "P", "well": "A1",
             "replicate": "2", "block": "7"},
            {"cell_line": "Y", "doses": [pair[0], {"compound": "A", "dose_um": 0}], "value": 50},
            unit="percent",
        )  # fmt: skip
        assert lab.ok(response)["media_type"] == "application/json"
        wells = lab.wells(campaign["id"])
        assert plain(wells, ids) == [
            ("X", {}, 1.0, 100.0),
            ("X", {"A": 0.1, "B": 1.0}, 0.25, 25.0),
            ("Y", {"B": 1.0}, 0.5, 50.0),
        ]
        assert column(wells, "row") == [0, 1, 2]
        assert [wells[1][name] for name in ("plate", "well", "replicate", "block")] == [
            "P", "A1", "2", "7",
        ]  # fmt: skip

    def test_the_query_declares_what_a_body_cannot_say(self, lab, campaign):
        well = {"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1}], "value": 0.5}
        lab.ok(send_json(lab, campaign, well, well, repeats="replicates"))
        assert column(lab.wells(campaign["id"]), "replicate") == ["1", "2"]
        dead = {"cell_line": "X", "value": 0.01}
        lab.refused(send_json(lab, campaign, dead), 422)
        lab.ok(send_json(lab, campaign, dead, confirm_scale=True))

    def test_a_query_that_contradicts_the_body(self, lab, campaign):
        well = {"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1}], "value": 0.5}
        with lab.untouched():
            problem = lab.refused(send_json(lab, campaign, well, cell_line="Y"), 422)
        assert codes(problem) == [("cell_line_contradiction", "/measurements/0/cell_line")]


class TestExactlyOnce:
    def test_the_same_bytes_again(self, lab, campaign):
        first = lab.ok(send(lab, campaign, OWN.encode()))
        with lab.untouched():
            response = send(lab, campaign, OWN.encode())
        assert response.status_code == 200
        assert "location" not in response.headers
        assert response.json() == {**first, "outcome": "existing"}

    def test_the_same_bytes_declared_otherwise(self, lab, campaign):
        """They were stored as viability: to answer 'existing' would be silently wrong."""
        content = b"cell_line,compound_1,dose_1_um,response\nX,A,1,40\n"
        first = lab.ok(send(lab, campaign, content, quantity="viability", unit="percent"))
        with lab.untouched():
            again = send(lab, campaign, content, quantity="inhibition", unit="percent")
            problem = lab.refused(again, 409)
        assert first["id"] in problem["detail"]
        assert "viability as percent" in problem["detail"]

    def test_the_same_bytes_in_another_campaign(self, lab, campaign):
        other = lab.campaign(name="Other")
        first = lab.ok(send(lab, campaign, OWN.encode()))
        second = lab.ok(send(lab, other, OWN.encode()))
        assert second["outcome"] == "stored"
        assert second["id"] != first["id"]

    def test_the_same_bytes_at_the_same_moment(self, lab, campaign):
        answers = at_once(*[lambda: send(lab, campaign, OWN.encode())] * 4)
        assert [answer.status_code for answer in answers].count(201) == 1
        assert {answer.status_code for answer in answers} <= {200, 201, 409}
        assert len(lab.wells(campaign["id"])) == 3
        assert len(lab.every(path(campaign))) == 1

    def test_a_dry_run_stores_nothing(self, lab, campaign):
        with lab.untouched():
            response = send(lab, campaign, OWN.encode(), dry_run=True)
        assert response.status_code == 200
        answer = response.json()
        assert (answer["outcome"], answer["n_measurements"]) == ("checked", 3)
        lab.refused(lab.get(f"/v1/submissions/{answer['id']}"), 404)
        assert lab.ok(send(lab, campaign, OWN.encode()))["outcome"] == "stored"

    def test_a_dry_run_finds_what_is_wrong(self, lab, campaign):
        with lab.untouched():
            problem = lab.refused(send(lab, campaign, OWN.replace("Y,", "Z,").encode(),
                                       dry_run=True), 422)  # fmt: skip
        assert problem["errors"][0]["row"] == 3

    def test_a_dry_run_of_what_is_there_already(self, lab, campaign):
        lab.ok(send(lab, campaign, OWN.encode()))
        assert lab.ok(send(lab, campaign, OWN.encode(), dry_run=True))["outcome"] == "existing"


class TestReading:
    def test_one_and_the_list(self, lab, campaign):
        first = lab.ok(send(lab, campaign, OWN.encode()))
        second = lab.ok(send(lab, campaign, OWN.replace("0.9", "0.8").encode()))
        assert lab.every(path(campaign), limit=1) == [first, second]
        assert lab.ok(lab.get(f"/v1/submissions/{first['id']}")) == first

    @pytest.mark.parametrize(
        ("content", "content_type"),
        [
            (b"\xef\xbb\xbf" + OWN.replace("\n", "\r\n").encode(), "text/csv"),
            (OWN.replace(",", "\t").encode(), "text/plain"),
            (
                json.dumps(
                    {"quantity": "viability", "unit": "fraction",
                     "measurements": [{"cell_line": "X", "value": 1.0}]}, indent=7
                ).encode(),
                "application/json",
            ),
        ],
    )  # fmt: skip
    def test_the_original_comes_back_byte_for_byte(self, lab, campaign, content, content_type):
        submission = lab.ok(send(lab, campaign, content, content_type))
        original = lab.get(f"/v1/submissions/{submission['id']}/original")
        assert original.content == content
        assert original.headers["content-type"] == "application/octet-stream"
        assert "attachment" in original.headers["content-disposition"]

    def test_who_and_when_is_in_the_trail(self, lab, campaign):
        submission = lab.ok(send(lab, campaign, OWN.encode()))
        (event,) = lab.events("submission.created")
        assert event["subject_id"] == submission["id"]
        assert event["actor"] == submission["created_by"]
        assert event["new"]["sha256"] == submission["sha256"]


class TestOtherWorkspaces:
    def test_neither_see_nor_add(self, lab, other_lab, campaign):
        submission = lab.ok(send(lab, campaign, OWN.encode()))
        (well, *_) = lab.wells(campaign["id"])
        hidden = [
            path(campaign),
            f"/v1/submissions/{submission['id']}",
            f"/v1/submissions/{submission['id']}/original",
            f"/v1/campaigns/{campaign['id']}/measurements",
            f"/v1/campaigns/{campaign['id']}/measurements.csv",
            f"/v1/measurements/{well['id']}",
        ]
        for address in hidden:
            other_lab.refused(other_lab.get(address), 404)
        with lab.untouched():
            other_lab.refused(send(other_lab, campaign, OWN.encode()), 404)
            other_lab.refused(send(other_lab, campaign, OWN.encode(), dry_run=True), 404)

    def test_the_same_bytes_in_another_lab_are_new(self, lab, other_lab, campaign):
        lab.ok(send(lab, campaign, OWN.encode()))
        theirs = other_lab.campaign()
        assert other_lab.ok(send(other_lab, theirs, OWN.encode()))["outcome"] == "stored"
        assert len(other_lab.wells(theirs["id"])) == len(lab.wells(campaign["id"])) == 3

    def test_their_ids_in_a_table(self, lab, other_lab, campaign):
        theirs = other_lab.campaign()
        compound, line = theirs["compounds"][0]["id"], theirs["cell_lines"][0]["id"]
        with lab.untouched():
            lab.refused(send(lab, campaign, f"{PAIR_HEADER}\nX,{compound},1,,,1\n".encode()), 422)
            lab.refused(send(lab, campaign, f"{PAIR_HEADER}\n{line},A,1,,,1\n".encode()), 422)
