"""Wells and their corrections: nothing is overwritten, and the present version counts."""

import pytest

from tests.lab import at_once, codes, column


@pytest.fixture
def campaign(lab):
    campaign = lab.campaign()
    lab.measure(campaign["id"], "X,A,0.1,,,0.9", "X,A,0.1,B,0.1,0.5", "Y,C,1,,,0.7")
    return campaign


def current(lab, campaign):
    return lab.wells(campaign["id"])


def every(lab, campaign):
    return lab.wells(campaign["id"], versions="all")


def correct(lab, well, **body):
    body = {"reason": "plate was shifted", **body}
    return lab.post(f"/v1/measurements/{well['id']}/corrections", body)


class TestCorrecting:
    def test_a_new_version_beside_the_old_one(self, lab, campaign):
        before = current(lab, campaign)
        response = correct(lab, before[1], value=0.25)
        after = lab.ok(response)
        assert response.status_code == 201
        assert after["corrects"] == before[1]["id"]
        assert (after["version"], after["viability"], after["raw_value"]) == (2, 0.25, 0.25)
        assert after["reason"] == "plate was shifted"
        same = ("doses", "cell_line", "submission_id", "row", "plate", "well", "replicate", "block")
        assert {name: after[name] for name in same} == {name: before[1][name] for name in same}
        assert current(lab, campaign) == [before[0], before[2], after]
        assert every(lab, campaign) == [*before, after]
        assert lab.ok(lab.get(f"/v1/measurements/{before[1]['id']}")) == before[1]

    def test_a_value_is_on_the_scale_of_its_submission(self, lab, campaign):
        table = "cell_line,compound_1,dose_1_um,inhibition_percent\nY,A,1,40\n"
        lab.ok(lab.submit(campaign["id"], table))
        after = lab.ok(correct(lab, current(lab, campaign)[-1], value=75))
        assert (after["raw_value"], after["viability"]) == (75.0, 0.25)

    def test_a_chain(self, lab, campaign):
        (well, *others) = current(lab, campaign)
        second = lab.ok(correct(lab, well, value=0.8))
        third = lab.ok(correct(lab, second, value=0.6))
        assert (third["version"], third["corrects"]) == (3, second["id"])
        assert current(lab, campaign) == [*others, third]
        assert column(every(lab, campaign), "version") == [1, 1, 1, 2, 3]

    def test_withdrawing(self, lab, campaign):
        (well, *others) = current(lab, campaign)
        gone = lab.ok(correct(lab, well, withdrawn=True))
        assert (gone["withdrawn"], gone["viability"]) == (True, well["viability"])
        assert current(lab, campaign) == others
        assert every(lab, campaign)[-1] == gone

    def test_what_was_withdrawn_can_come_back(self, lab, campaign):
        (well, *others) = current(lab, campaign)
        gone = lab.ok(correct(lab, well, withdrawn=True))
        back = lab.ok(correct(lab, gone, value=0.85, reason="found again"))
        assert (back["version"], back["withdrawn"]) == (3, False)
        assert current(lab, campaign) == [*others, back]

    def test_the_trail_says_who_why_and_both_values(self, lab, campaign):
        (well, *_) = current(lab, campaign)
        after = lab.ok(correct(lab, well, value=0.25))
        (event,) = lab.events("measurement.corrected")
        assert event["subject_id"] == well["id"]
        assert event["reason"] == "plate was shifted"
        assert event["old"]["viability"] == 0.9
        assert (event["new"]["id"], event["new"]["viability"]) == (after["id"], 0.25)
        assert event["actor"] == after["created_by"]


class TestRefusals:
    def test_correcting_twice(self, lab, campaign):
        (well, *_) = current(lab, campaign)
        second = lab.ok(correct(lab, well, value=0.8))
        with lab.untouched():
            problem = lab.refused(correct(lab, well, value=0.7), 409)
        assert second["id"] in problem["detail"]

    def test_two_corrections_at_the_same_moment(self, lab, campaign):
        (well, *_) = current(lab, campaign)
        answers = at_once(*[lambda v=v: correct(lab, well, value=v) for v in (0.1, 0.2, 0.3)])
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        assert len(every(lab, campaign)) == 4

    def test_what_is_no_correction(self, lab, campaign, subtests):
        (well, *_) = current(lab, campaign)
        for body, pointer in [
            ({}, "/value"),
            ({"value": 0.5, "withdrawn": True}, "/value"),
            ({"value": 42}, "/value"),
            ({"value": "0.5"}, "/value"),
            ({"value": 0.5, "reason": ""}, "/reason"),
            ({"value": 0.5, "reason": "   "}, "/reason"),
            ({"value": 0.5, "reason": None}, "/reason"),
            ({"value": 0.5, "viability": 0.5}, "/viability"),
        ]:
            with subtests.test(str(body)), lab.untouched():
                problem = lab.refused(correct(lab, well, **body), 422)
                assert codes(problem)[0][1] == pointer

    def test_percent_on_the_scale_of_fractions_is_not_taken_for_viability(self, lab, campaign):
        (well, *_) = current(lab, campaign)
        problem = lab.refused(correct(lab, well, value=95), 422)
        assert "viability as fraction" in problem["detail"]

    def test_in_a_closed_campaign(self, lab, campaign):
        (well, *_) = current(lab, campaign)
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        with lab.untouched():
            lab.refused(correct(lab, well, value=0.5), 409)

    def test_of_another_workspace(self, lab, other_lab, campaign):
        (well, *_) = current(lab, campaign)
        with lab.untouched():
            other_lab.refused(correct(other_lab, well, value=0.5), 404)


def test_versions_is_current_or_all(lab, campaign):
    address = f"/v1/campaigns/{campaign['id']}/measurements"
    problem = lab.refused(lab.get(address, params={"versions": "old"}), 422)
    assert problem["errors"][0]["pointer"] == "query/versions"
