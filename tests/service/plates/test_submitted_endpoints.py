"""POST /v1/campaigns/{id}/plates: plates that were laid out elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import Lab
from tests.service.batches.plates_bench import a_batch, give_stocks, lay_out, text

HEADER = "barcode,format,well,role,cell_line,compound_1,dose_1_um,compound_2,dose_2_nm,replicate"
ROWS = (
    "LAB-1,384,B02,,X,A,0.5,B,250,1",
    "LAB-1,384,B3,,X,A,0.5,,,1",
    "LAB-1,384,C3,vehicle,X,,,,,",
    "LAB-1,384,D3,blank,,,,,,",
    "LAB-2,96,A1,positive,Y,Killer,20,,,",
)


@pytest.fixture
def campaign(lab: Lab) -> dict[str, Any]:
    made = lab.campaign()
    lab.compounds("Killer")
    return made


def submit(
    lab: Lab, campaign: dict[str, Any], *rows: str, header: str = HEADER, **query: Any
) -> Any:
    content = "\r\n".join([header, *rows]) + "\r\n"
    return lab.request(
        "POST",
        f"/v1/campaigns/{campaign['id']}/plates",
        content=content.encode(),
        params=query,
        headers={"Content-Type": "text/csv"},
    )


def test_wells_by_id_with_doses_in_micromolar(lab: Lab, campaign: dict[str, Any]) -> None:
    response = submit(lab, campaign, *ROWS)
    assert response.status_code == 201
    answer = lab.ok(response)
    assert (answer["created"], answer["existing"]) == (2, 0)
    first, second = answer["plates"]
    assert (first["barcode"], first["format"], first["origin"]) == ("LAB-1", 384, "submitted")
    assert (first["n_wells"], first["batch_id"], first["replicate"]) == (4, None, 1)
    assert second["format"] == 96
    pair, single, vehicle, blank = lab.ok(lab.get(f"/v1/plates/{first['id']}"))["wells"]
    a, b = (row["id"] for row in campaign["compounds"][:2])
    assert [(c["compound"], c["nominal_um"], c["real_um"]) for c in pair["contents"]] == [
        (a, 0.5, 0.5), (b, 0.25, 0.25)
    ]  # fmt: skip
    assert (pair["well"], pair["role"], pair["replicate"]) == ("B2", "sample", 1)
    assert (single["well"], single["role"]) == ("B3", "single")
    assert pair["cell_line"] == campaign["cell_lines"][0]["id"]
    assert (vehicle["role"], blank["role"], blank["cell_line"]) == ("vehicle", "blank", None)


def test_the_same_file_again_and_another_map(
    lab: Lab, other_lab: Lab, campaign: dict[str, Any]
) -> None:
    first = lab.ok(submit(lab, campaign, *ROWS))
    with lab.untouched():
        again = submit(lab, campaign, *ROWS)
        assert again.status_code == 200
        assert lab.ok(again)["plates"] == first["plates"]
        problem = lab.refused(submit(lab, campaign, ROWS[0].replace("0.5", "0.6")), 409)
    assert "'LAB-1' in this campaign already, with another map" in problem["detail"]
    theirs = other_lab.campaign()
    other_lab.compounds("Killer")
    assert other_lab.ok(submit(other_lab, theirs, *ROWS))["created"] == 2


def test_our_own_export_reads_back(lab: Lab) -> None:
    """Another lab of the same names gets our plates as a file; every well is the same."""
    batch = a_batch(lab)
    give_stocks(lab)
    (plate,) = lab.ok(lay_out(lab, batch))["plates"]
    exported = text(lab, f"/v1/batches/{batch['id']}/plates.csv")
    campaign = {"id": batch["campaign_id"]}
    renamed = exported.replace(plate["barcode"], "COPY")
    header, *rows = renamed.rstrip("\r\n").split("\r\n")
    copy = lab.ok(submit(lab, campaign, *rows, header=header))["plates"][0]
    wells = [lab.ok(lab.get(f"/v1/plates/{each['id']}"))["wells"] for each in (plate, copy)]
    assert wells[0] == wells[1]


def test_a_format_for_the_whole_file_and_other_separators(
    lab: Lab, campaign: dict[str, Any]
) -> None:
    header = "Barcode;Well;Role;Cell_line;Compound_1;nominal_nM_1;real_nM_1"
    rows = ("P1;AF48;;X;A;1000;990.5",)
    lab.refused(submit(lab, campaign, *rows, header=header), 422)
    answer = lab.ok(submit(lab, campaign, *rows, header=header, format="1536"))
    (well,) = lab.ok(lab.get(f"/v1/plates/{answer['plates'][0]['id']}"))["wells"]
    (content,) = well["contents"]
    assert (well["well"], content["nominal_um"], content["real_um"]) == ("AF48", 1.0, 0.9905)


def test_what_is_refused_names_line_and_column(
    lab: Lab, campaign: dict[str, Any], subtests: Any
) -> None:
    for row, column, words in [
        ("L,384,B02,,X,Q,0.5,,,", "compound_1", "no compound 'Q'"),
        ("L,384,B02,,X,Killer,0.5,,,", "compound_1", "'Killer' is not in the campaign"),
        ("L,384,B02,,Q,A,0.5,,,", "cell_line", "no cell line of the campaign 'Q'"),
        ("L,384,B02,,,A,0.5,,,", "cell_line", "needs a cell line"),
        ("L,384,Q02,,X,A,0.5,,,", "well", "ends at P24"),
        ("L,384,,,X,A,0.5,,,", "well", "'' is no well"),
        ("L,385,B02,,X,A,0.5,,,", "format", "96, 384 or 1536 wells, not '385'"),
        ("L,384,B02,,X,A,,,,", "dose_1", "'A' needs a dose above 0"),
        ("L,384,B02,,X,A,0,,,", "dose_1", "'A' needs a dose above 0"),
        ('L,384,B02,,X,A,"0,5",,,', "dose 1", "with a decimal point"),
        ("L,384,B02,,X,A,-1,,,", "dose 1", "a number from 0 up"),
        ("L,384,B02,,X,,0.5,,,", "compound_1", "has a dose but no name"),
        ("L,384,B02,,X,A,0.5,A,1,", "compound_1", "twice"),
        ("L,384,B02,,X,,,,,", "role", "without compounds needs a role"),
        ("L,384,B02,wild,X,A,0.5,,,", "role", "'wild' is none of sample"),
        ("L,384,B02,,X,A,0.5,,,x", "replicate", "no whole number"),
        (",384,B02,,X,A,0.5,,,", "barcode", "needs a barcode"),
        ("L,384,B02", "", "3 cells"),
    ]:  # fmt: skip
        with subtests.test(row), lab.untouched():
            problem = lab.refused(submit(lab, campaign, ROWS[0], row), 422)
            assert problem["detail"].startswith("Line 3: ")
            assert (problem["errors"][0]["row"], problem["errors"][0]["column"]) == (3, column)
            assert words in problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("barcode,format", "needs the column `well`"),
        ("barcode,well,format,colour", "Column 'colour' is not known"),
        ("barcode,well,format,well", "is there twice"),
        ("barcode,well,format,compound_1", "compound_1 has no dose"),
        ("barcode,well,format,dose_1_um", "without the column compound_1"),
        ("barcode,well", "how many wells"),
        ("", "no header"),
        ("barcode,well,format", "no wells below its header"),
    ],
)
def test_headers_that_cannot_be(
    lab: Lab, campaign: dict[str, Any], header: str, words: str
) -> None:
    with lab.untouched():
        assert words in lab.refused(submit(lab, campaign, header=header), 422)["detail"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a\x00b", b'barcode,well,format\n"'])
def test_bytes_that_are_no_table(lab: Lab, campaign: dict[str, Any], content: bytes) -> None:
    path = f"/v1/campaigns/{campaign['id']}/plates"
    with lab.untouched():
        headers = {"Content-Type": "text/csv"}
        lab.refused(lab.request("POST", path, content=content, headers=headers), 422)
        lab.refused(lab.request("POST", path, content=content), 415)


def test_a_well_that_is_listed_twice(lab: Lab, campaign: dict[str, Any]) -> None:
    with lab.untouched():
        problem = lab.refused(submit(lab, campaign, ROWS[0], ROWS[0]), 422)
    assert "Well B2 of plate 'LAB-1' is listed twice" in problem["detail"]
