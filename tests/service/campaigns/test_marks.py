"""Pins and bans: what people know and the model does not."""

import pytest

from tests.lab import at_once, codes, column


@pytest.fixture
def campaign(lab):
    return lab.campaign()


def path(campaign, mark=None):
    return f"/v1/campaigns/{campaign['id']}/marks" + (f"/{mark['id']}" if mark else "")


def item(mark, pair, line=None, reason=None):
    return {"mark": mark, "compounds": list(pair), "cell_line": line, "reason": reason}


def mark(lab, campaign, *items):
    return lab.post(path(campaign), {"marks": list(items)})


def marks(lab, campaign):
    return lab.every(path(campaign))


class TestWriting:
    def test_a_whole_pair_and_one_line(self, lab, campaign):
        names = {row["name"]: row["id"] for row in campaign["compounds"] + campaign["cell_lines"]}
        response = mark(lab, campaign, item("ban", "AB", None, "toxic"), item("pin", "AB", "X"))
        written = lab.ok(response)
        assert (response.status_code, written["written"]) == (201, 2)
        ban, pin = written["items"]
        assert (ban["mark"], ban["cell_line"], ban["reason"]) == ("ban", None, "toxic")
        assert (pin["mark"], pin["cell_line"], pin["reason"]) == ("pin", names["X"], None)
        assert ban["compounds"] == pin["compounds"] == sorted([names["A"], names["B"]])
        assert marks(lab, campaign) == [ban, pin]

    def test_the_order_of_a_pair_does_not_matter(self, lab, campaign):
        (first,) = lab.ok(mark(lab, campaign, item("pin", "AB", "X")))["items"]
        (second,) = lab.ok(mark(lab, campaign, item("ban", "BA", "x")))["items"]
        assert second["id"] == first["id"]
        assert (second["mark"], second["compounds"]) == ("ban", first["compounds"])
        assert marks(lab, campaign) == [second]

    def test_a_later_mark_replaces_the_former_one_and_its_reason(self, lab, campaign):
        lab.ok(mark(lab, campaign, item("pin", "AB", None, "looks good")))
        lab.ok(mark(lab, campaign, item("ban", "AB")))
        (only,) = marks(lab, campaign)
        assert (only["mark"], only["reason"]) == ("ban", None)
        (event,) = lab.events("candidate_mark.changed")
        assert event["old"] == {"mark": "pin", "reason": "looks good"}
        assert event["new"] == {"mark": "ban", "reason": None}

    @pytest.mark.parametrize("status", ["draft", "paused"])
    def test_in_a_campaign_that_does_not_run(self, lab, status):
        campaign = lab.campaign(status="draft" if status == "draft" else "open")
        if status == "paused":
            lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": status}, 1))
        assert lab.ok(mark(lab, campaign, item("pin", "AB")))["written"] == 1

    def test_refusals_write_nothing(self, lab, campaign, subtests):
        for items, expected in [
            ([item("pin", ["A", "Z"])], ("unknown_compound", "/marks/0/compounds/1")),
            ([item("pin", "AA")], ("same_compound", "/marks/0/compounds")),
            ([item("pin", "AB", "Z")], ("unknown_cell_line", "/marks/0/cell_line")),
            ([item("pin", "AB"), item("ban", "BA")], ("repeated_mark", "/marks/1")),
            ([item("pin", "AB", "X"), item("pin", "AB", "x")], ("repeated_mark", "/marks/1")),
            ([item("like", "AB")], ("literal_error", "/marks/0/mark")),
            ([item("pin", "ABC")], ("too_long", "/marks/0/compounds")),
            ([], ("too_short", "/marks")),
        ]:
            good = [item("ban", "BC")] if items else []
            with subtests.test(str(expected)), lab.untouched():
                problem = lab.refused(mark(lab, campaign, *items, *good), 422)
                assert codes(problem)[0] == expected
        assert marks(lab, campaign) == []

    def test_a_pin_on_a_pair_that_the_campaign_does_not_allow(self, lab):
        """It could never be proposed, so the pin would be silently in vain."""
        campaign = lab.campaign(pairs=[["A", "B"]])
        with lab.untouched():
            problem = lab.refused(mark(lab, campaign, item("pin", "AC")), 422)
        assert codes(problem) == [("pair_not_allowed", "/marks/0/compounds")]
        assert "add_pairs" in problem["detail"]
        lab.ok(mark(lab, campaign, item("ban", "AC"), item("pin", "BA")))

    def test_a_registered_compound_that_is_not_in_the_campaign(self, lab, campaign):
        lab.compounds("D")
        with lab.untouched():
            problem = lab.refused(mark(lab, campaign, item("ban", "AD")), 422)
        assert "Add it to the campaign first." in problem["detail"]

    def test_in_a_closed_campaign(self, lab, campaign):
        (pin,) = lab.ok(mark(lab, campaign, item("pin", "AB")))["items"]
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        with lab.untouched():
            lab.refused(mark(lab, campaign, item("ban", "AB")), 409)
            lab.refused(lab.delete(path(campaign, pin)), 409)
        assert marks(lab, campaign) == [pin]


class TestAtOnce:
    def test_one_block_has_one_mark(self, lab, campaign):
        answers = at_once(
            lambda: mark(lab, campaign, item("pin", "AB", "X")),
            lambda: mark(lab, campaign, item("ban", "BA", "X")),
        )
        assert 201 in {answer.status_code for answer in answers} <= {201, 409}
        assert len(marks(lab, campaign)) == 1


class TestRemoving:
    def test_one(self, lab, campaign):
        ban, pin = lab.ok(mark(lab, campaign, item("ban", "AB"), item("pin", "BC")))["items"]
        response = lab.delete(path(campaign, ban))
        assert (response.status_code, response.content) == (204, b"")
        assert marks(lab, campaign) == [pin]
        (event,) = lab.events("candidate_mark.deleted")
        assert (event["old"]["mark"], event["new"]) == ("ban", None)
        lab.refused(lab.delete(path(campaign, ban)), 404)

    def test_through_another_campaign(self, lab, campaign):
        other = lab.campaign(name="Other")
        (ban,) = lab.ok(mark(lab, campaign, item("ban", "AB")))["items"]
        with lab.untouched():
            lab.refused(lab.delete(path(other, ban)), 404)


class TestOtherWorkspaces:
    def test_neither_see_nor_change(self, lab, other_lab, campaign):
        (ban,) = lab.ok(mark(lab, campaign, item("ban", "AB")))["items"]
        theirs = other_lab.campaign()
        with lab.untouched():
            other_lab.refused(other_lab.get(path(campaign)), 404)
            other_lab.refused(mark(other_lab, campaign, item("ban", "AB")), 404)
            other_lab.refused(other_lab.delete(path(campaign, ban)), 404)
            other_lab.refused(other_lab.delete(path(theirs, ban)), 404)
        assert marks(other_lab, theirs) == []
        assert marks(lab, campaign) == [ban]

    def test_ids_of_others_in_a_mark(self, lab, other_lab, campaign):
        theirs = other_lab.campaign()
        ids = column(theirs["compounds"], "id")
        line = theirs["cell_lines"][0]["id"]
        with lab.untouched():
            lab.refused(mark(lab, campaign, item("ban", ids[:2])), 422)
            lab.refused(mark(lab, campaign, item("ban", "AB", line)), 422)


def test_marks_of_two_campaigns_do_not_meet(lab, campaign):
    other = lab.campaign(name="Other")
    lab.ok(mark(lab, campaign, item("ban", "AB")))
    lab.ok(mark(lab, other, item("pin", "AB")))
    assert column(marks(lab, campaign), "mark") == ["ban"]
    assert column(marks(lab, other), "mark") == ["pin"]
