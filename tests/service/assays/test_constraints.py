"""What the databases refuse by themselves, whoever writes: SQL, past every rule of the service."""

import math

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.assays.tables import Measurement, Submission
from service.batches.tables import BatchItem
from service.campaigns.tables import CampaignPair, CandidateMark
from service.kit.audit.tables import AuditEvent
from service.kit.ids import new_id


@pytest.fixture
def campaign(lab):
    campaign = lab.campaign()
    lab.measure(campaign["id"], "X,A,0.1,B,0.1,0.9")
    return campaign


@pytest.fixture
def stored(lab, campaign):
    """The one measurement as a row to copy."""
    with lab.parts.database.reading() as session:
        return dict(session.execute(select(Measurement.__table__)).mappings().one())


def write(lab, statement, *parameters):
    with lab.parts.database.writing() as session:
        session.execute(statement, *parameters)


def refused(lab, statement, error=IntegrityError):
    with lab.untouched(), pytest.raises(error) as caught:
        write(lab, statement)
    return str(caught.value.orig)


def measurement(stored, **changes):
    return insert(Measurement).values({**stored, "id": new_id("mea"), "row": 9, **changes})


def test_a_good_copy_is_taken(lab, stored):
    """The refusals below are refused for what they change, not for being copies."""
    write(lab, measurement(stored))
    assert lab.rows()["measurement"] == 2


def test_wells_that_cannot_be(lab, stored, subtests):
    a, b = stored["compound_a_id"], stored["compound_b_id"]
    none = {"compound_b_id": None, "dose_b_um": None}
    wrong = {
        "pair in descending order": {"compound_a_id": b, "compound_b_id": a},
        "one compound twice": {"compound_b_id": a},
        "second without a first": {"compound_a_id": None, "dose_a_um": None},
        "third without a second": {**none, "compound_c_id": b, "dose_c_um": 1.0},
        "compound without a dose": {"dose_a_um": None},
        "dose without a compound": {"compound_b_id": None},
        "negative dose": {"dose_a_um": -1.0},
        "dose of zero": {"dose_a_um": 0.0},
        "dose that is NaN": {"dose_a_um": math.nan},
        "endless dose": {"dose_b_um": math.inf},
        "viability that is NaN": {"viability": math.nan},
        "endless viability": {"viability": math.inf},
        "endless negative viability": {"viability": -math.inf},
        "raw value that is NaN": {"raw_value": math.nan},
        "endless raw value": {"raw_value": math.inf},
        "no viability": {"viability": None},
        "later version of nothing": {"version": 2},
        "first version of something": {"corrects_id": stored["id"]},
        "version of what never was": {"version": 2, "corrects_id": new_id("mea")},
        "the same id": {"id": stored["id"]},
    }
    for what, changes in wrong.items():
        with subtests.test(what):
            refused(lab, measurement(stored, **changes))


def test_one_well_has_one_correction(lab, stored):
    successor = {"version": 2, "corrects_id": stored["id"]}
    write(lab, measurement(stored, **successor))
    refused(lab, measurement(stored, **successor))


def test_members_of_others(lab, other_lab, campaign, stored, subtests):
    lab.compounds("D")
    lab.cell_lines("Z")
    other = lab.campaign(name="Other", compounds=["A", "D"], cell_lines=["X", "Z"])
    lab.measure(other["id"], "X,A,1,,,0.5")
    theirs = other_lab.campaign()
    other_lab.measure(theirs["id"], "X,A,1,,,0.5")
    ids = {row["name"]: row["id"] for row in other["compounds"] + other["cell_lines"]}
    alone = {"compound_b_id": None, "dose_b_um": None}
    wrong = {
        "compound outside the campaign": {**alone, "compound_a_id": ids["D"]},
        "cell line outside the campaign": {"cell_line_id": ids["Z"]},
        "compound of another lab": {**alone, "compound_a_id": theirs["compounds"][0]["id"]},
        "cell line of another lab": {"cell_line_id": theirs["cell_lines"][0]["id"]},
        "campaign of another lab": {"campaign_id": theirs["id"]},
        "another workspace": {"workspace_id": other_lab.workspace_id},
        "submission of another campaign": {
            "submission_id": lab.every(f"/v1/campaigns/{other['id']}/submissions")[0]["id"]
        },
        "submission of another lab": {
            "submission_id": other_lab.every(f"/v1/campaigns/{theirs['id']}/submissions")[0]["id"]
        },
    }
    for what, changes in wrong.items():
        with subtests.test(what):
            refused(lab, measurement(stored, **changes))


def test_the_same_bytes_twice_in_a_campaign(lab, campaign):
    with lab.parts.database.reading() as session:
        row = dict(session.execute(select(Submission.__table__)).mappings().one())
    refused(lab, insert(Submission).values({**row, "id": new_id("smn")}))


def test_what_is_recorded_is_never_changed_or_deleted(lab, campaign, subtests):
    for table, column in [
        (Measurement.__table__, "viability"),
        (Submission.__table__, "note"),
        (AuditEvent.__table__, "reason"),
    ]:
        with subtests.test(str(table.name)):
            with lab.parts.database.reading() as session:
                before = session.execute(select(table)).all()
            value = 0.5 if column == "viability" else "it was not me"
            for statement in (
                update(table).values({column: value}),
                text(f"UPDATE {table.name} SET {column} = {column}"),
                delete(table),
                text(f"DELETE FROM {table.name} WHERE id = (SELECT max(id) FROM {table.name})"),
            ):
                assert "append-only" in refused(lab, statement, DBAPIError)
            with lab.parts.database.reading() as session:
                assert session.execute(select(table)).all() == before


def test_what_is_recorded_is_not_replaced_either(lab, stored):
    """SQLite's REPLACE deletes without firing a trigger, unless it is told to."""
    if lab.parts.database.dialect == "postgresql":
        names = ", ".join(stored)
        again = text(
            f"INSERT INTO measurement ({names}) SELECT {names} FROM measurement "
            "ON CONFLICT (id) DO UPDATE SET viability = 0.5"
        )
    else:
        again = measurement(stored, id=stored["id"], viability=0.5).prefix_with("OR REPLACE")
    assert "append-only" in refused(lab, again, DBAPIError)


def test_pairs_have_one_spelling_everywhere(lab, campaign, subtests):
    a, b = sorted(row["id"] for row in campaign["compounds"])[:2]
    owner = {"workspace_id": lab.workspace_id, "campaign_id": campaign["id"]}
    line = campaign["cell_lines"][0]["id"]
    mark = {"id": new_id("mrk"), "mark": "ban", "scope": "*"}
    item = {
        "id": new_id("itm"), "batch_id": new_id("bat"), "cell_line_id": line, "position": 1,
        "rank": 1, "doses_a_um": [], "doses_b_um": [], "predicted": {}, "status": "pending",
    }  # fmt: skip
    for table, more in [(CampaignPair, {}), (CandidateMark, mark), (BatchItem, item)]:
        for pair in [(b, a), (a, a)]:
            with subtests.test(table.__tablename__):
                row = {**owner, **more, "compound_a_id": pair[0], "compound_b_id": pair[1]}
                words = refused(lab, insert(table).values(row))
                assert "unordered" in words


def test_marks_of_a_block_are_one(lab, campaign):
    a, b = sorted(row["id"] for row in campaign["compounds"])[:2]
    row = {
        "workspace_id": lab.workspace_id, "campaign_id": campaign["id"], "compound_a_id": a,
        "compound_b_id": b, "scope": "*",
    }  # fmt: skip
    write(lab, insert(CandidateMark).values({**row, "id": new_id("mrk"), "mark": "ban"}))
    refused(lab, insert(CandidateMark).values({**row, "id": new_id("mrk"), "mark": "pin"}))
    line = {"id": new_id("mrk"), "mark": "pin", "scope": campaign["cell_lines"][0]["id"]}
    refused(lab, insert(CandidateMark).values({**row, **line}))
