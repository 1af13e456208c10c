"""The CSV of a campaign: what comes out can go in again, and runs in no spreadsheet."""

import csv
import io

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab import column

TABLE = (
    "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,compound_3,dose_3_um,"
    "inhibition_percent,plate,well,replicate,block\n"
    "X,A,0.1,,,,,33.3,P 1,A01,1,\n"
    "X,A,0.1,B,0.30000000000000004,,,66.7,P 1,A02,1,\n"
    "Y,A,0.1,B,1,C,1e-3,-12.5,,,,\n"
    "Y,,,,,,,0.1,,,,\n"
    "X,A,2,,,,,10,,,,1\n"
    "X,A,2,,,,,20,,,,2\n"
)


def export(lab, campaign):
    return lab.get(f"/v1/campaigns/{campaign['id']}/measurements.csv")


def rows(response):
    return list(csv.DictReader(io.StringIO(response.text)))


def facts(lab, campaign):
    """Everything that a well says about the world, without ids of rows."""
    names = {row["id"]: row["name"] for row in campaign["compounds"] + campaign["cell_lines"]}
    return sorted(
        (
            names[well["cell_line"]],
            tuple(sorted((names[d["compound"]], d["dose_um"]) for d in well["doses"])),
            well["viability"],
            *(well[label] or "" for label in ("plate", "well", "replicate", "block")),
        )
        for well in lab.wells(campaign["id"])
    )


class TestRoundTrip:
    def test_another_campaign_reads_the_same_wells(self, lab):
        campaign, other = lab.campaign(), lab.campaign(name="Other")
        lab.ok(lab.submit(campaign["id"], TABLE))
        response = export(lab, campaign)
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        submission = lab.ok(lab.submit(other["id"], response.text))
        assert submission["ignored_columns"] == ["measurement_id", "version"]
        assert facts(lab, other) == facts(lab, campaign)
        assert len(facts(lab, other)) == 6

    def test_wells_of_several_submissions_come_back_as_replicates(self, lab):
        campaign, other = lab.campaign(), lab.campaign(name="Other")
        lab.measure(campaign["id"], "X,A,1,,,0.5")
        lab.measure(campaign["id"], "X,A,1,,,0.25")
        text = export(lab, campaign).text
        lab.refused(lab.submit(other["id"], text), 422)
        lab.ok(lab.submit(other["id"], text, repeats="replicates"))
        assert column(lab.wells(other["id"]), "viability") == [0.5, 0.25]

    @settings(max_examples=15, deadline=None,
              suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
    @given(
        st.lists(
            st.tuples(st.floats(1e-9, 1e5), st.floats(-2.0, 9.9)),
            min_size=1, max_size=20, unique_by=lambda pair: f"{pair[0]:.12g}",
        )
    )  # fmt: skip
    def test_to_the_last_bit(self, lab, wells):
        first, second = lab.campaign(), lab.campaign(name="Other")
        lab.measure(first["id"], *(f"X,A,{dose!r},,,{value!r}" for dose, value in wells))
        lab.ok(lab.submit(second["id"], export(lab, first).text))
        assert column(lab.wells(second["id"]), "viability") == [value for _, value in wells]
        doses = [well["doses"][0]["dose_um"] for well in lab.wells(second["id"])]
        assert doses == [dose for dose, _ in wells]


class TestContent:
    def test_only_current_wells(self, lab):
        campaign = lab.campaign()
        lab.measure(campaign["id"], "X,A,1,,,0.5", "X,B,1,,,0.6")
        first, second = lab.wells(campaign["id"])
        fix = {"value": 0.4, "reason": "typing error"}
        lab.ok(lab.post(f"/v1/measurements/{first['id']}/corrections", fix))
        gone = {"withdrawn": True, "reason": "spilled"}
        lab.ok(lab.post(f"/v1/measurements/{second['id']}/corrections", gone))
        (row,) = rows(export(lab, campaign))
        assert (row["viability_fraction"], row["version"]) == ("0.4", "2")

    def test_an_empty_campaign_has_a_header(self, lab):
        response = export(lab, lab.campaign())
        assert rows(response) == []
        assert response.text.startswith("measurement_id,cell_line,compound_1")

    def test_more_wells_than_one_fetch(self, lab):
        campaign = lab.campaign()
        lab.measure(campaign["id"], *(f"X,A,{i + 1},,,0.5" for i in range(2_500)))
        doses = [float(row["dose_1_um"]) for row in rows(export(lab, campaign))]
        assert doses == [float(i + 1) for i in range(2_500)]

    def test_only_this_campaign(self, lab):
        campaign, other = lab.campaign(), lab.campaign(name="Other")
        lab.measure(campaign["id"], "X,A,1,,,0.5")
        assert rows(export(lab, other)) == []


class TestFormulas:
    NAMES = ("=1+1", "@cmd", "+7", "-2", "\uff1dHYPERLINK")

    def test_no_cell_begins_like_one(self, lab):
        lab.compounds(*self.NAMES)
        lab.cell_lines("=X")
        campaign = lab.campaign(compounds=list(self.NAMES), cell_lines=["=X"])
        table = "cell_line,compound_1,dose_1_um,viability_fraction,plate\n" + "".join(
            f"=X,{name},1,-0.5,=cmd|{i}\n" for i, name in enumerate(self.NAMES)
        )
        lab.ok(lab.submit(campaign["id"], table))
        found = rows(export(lab, campaign))
        assert column(found, "compound_1") == ["'=1+1", "'@cmd", "'+7", "'-2", "\uff1dHYPERLINK"]
        assert column(found, "plate")[0] == "'=cmd|0"
        assert column(found, "viability_fraction") == ["-0.5"] * 5

    def test_such_names_still_come_back_in(self, lab):
        lab.compounds("=1+1", "-2")
        lab.cell_lines("=X")
        first = lab.campaign(compounds=["=1+1", "-2"], cell_lines=["=X"])
        second = lab.campaign(name="Other", compounds=["=1+1", "-2"], cell_lines=["=X"])
        lab.measure(first["id"], "=X,=1+1,1,-2,1,0.5")
        lab.ok(lab.submit(second["id"], export(lab, first).text))
        assert facts(lab, second) == facts(lab, first)
