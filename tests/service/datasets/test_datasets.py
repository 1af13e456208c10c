"""`/v1/datasets` over HTTP: kept as it came, read by a worker, attached to campaigns."""

import pytest

from tests.lab import codes, column
from tests.service.datasets.files import COURSES, RESPONSES, read, send
from tests.service.learning.bench import start_campaign


class TestSending:
    def test_responses(self, lab):
        (compound,) = lab.compounds("MEKi")
        sent = send(lab, RESPONSES)
        assert (sent["state"], sent["summary"], sent["problem"]) == ("queued", None, None)
        found = read(lab, sent)
        assert found["state"] == "ready"
        assert found["perturbations"] == [
            {"name": "HDACi", "unit": "uM", "compound_id": None},
            {"name": "MEKi", "unit": "uM", "compound_id": compound},
        ]
        summary = found["summary"]
        assert (summary["n_rows"], summary["n_controls"], summary["n_pairs"]) == (4, 1, 1)
        assert summary["readouts"] == ["ERK", "AKT"]
        original = lab.get(f"/v1/datasets/{sent['id']}/original")
        assert original.content == RESPONSES.encode()

    def test_time_courses(self, lab):
        found = read(lab, send(lab, COURSES, holds="time_courses", kind="signal"))
        assert found["summary"]["channels"] == ["OD", "YFP"]
        assert found["summary"]["last_time_h"] == 3.0
        assert found["summary"]["cell_lines"] == ["PC9"]

    def test_whose_reading_was_cancelled_is_read_when_it_is_sent_again(self, lab):
        sent = send(lab, RESPONSES)
        lab.ok(lab.delete(f"/v1/jobs/{sent['job_id']}"))
        again = lab.ok(lab.post(PATH, content=RESPONSES, params=ASKED))
        assert again["id"] == sent["id"]
        assert again["job_id"] != sent["job_id"]
        assert read(lab, again)["state"] == "ready"

    def test_the_same_again_is_the_same(self, lab):
        sent = send(lab, RESPONSES)
        with lab.untouched():
            again = lab.post(PATH, content=RESPONSES, params=ASKED)
        assert again.status_code == 200
        assert again.json()["id"] == sent["id"]
        other = send(lab, RESPONSES, joined_by="|")
        assert other["id"] != sent["id"]

    def test_what_cannot_be_read_is_kept_and_says_why(self, lab):
        found = read(lab, send(lab, RESPONSES.replace("-0.8", "low")), fails=True)
        assert found["state"] == "refused"
        assert "line 3" in found["problem"]
        assert "'low' is no number" in found["problem"]
        problem = lab.refused(lab.post(f"/v1/datasets/{found['id']}/fits", {}), 409)
        assert "'low' is no number" in problem["detail"]

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ({"kind": "signal"}, "log_ratio or counts"),
            ({"holds": "time_courses"}, "say kind=signal"),
            ({"kind": "guess"}, "log_ratio"),
        ],
    )
    def test_contradictions(self, lab, asked, says):
        with lab.untouched():
            problem = lab.refused(lab.post(PATH, content=RESPONSES, params={**ASKED, **asked}), 422)
        assert says in str(problem)

    def test_nothing(self, lab):
        with lab.untouched():
            problem = lab.refused(lab.post(PATH, content=b"", params=ASKED), 422)
        assert codes(problem) == [("empty", None)]

    def test_lists(self, lab):
        sent = [send(lab, RESPONSES), send(lab, COURSES, holds="time_courses", kind="signal")]
        assert column(lab.every(PATH), "id") == column(sent, "id")


PATH = "/v1/datasets"
ASKED = {"holds": "responses", "kind": "log_ratio"}


class TestAttaching:
    def test_to_a_campaign_and_off_again(self, lab):
        campaign = start_campaign(lab)
        dataset = send(lab, RESPONSES)
        path = f"/v1/campaigns/{campaign['id']}/datasets"
        link = lab.ok(lab.post(path, {"dataset_id": dataset["id"]}))
        assert (link["campaign_id"], link["dataset_id"]) == (campaign["id"], dataset["id"])
        with lab.untouched():
            assert lab.ok(lab.post(path, {"dataset_id": dataset["id"]})) == link
        assert column(lab.every(path), "id") == [dataset["id"]]
        assert lab.delete(f"{path}/{dataset['id']}").status_code == 204
        assert lab.every(path) == []
        lab.refused(lab.delete(f"{path}/{dataset['id']}"), 404)

    def test_not_what_was_refused(self, lab):
        campaign = start_campaign(lab)
        refused = read(lab, send(lab, "treatment\n"), fails=True)
        path = f"/v1/campaigns/{campaign['id']}/datasets"
        lab.refused(lab.post(path, {"dataset_id": refused["id"]}), 409)

    def test_both_must_be_ours(self, lab, other_lab):
        campaign, dataset = start_campaign(lab), send(lab, RESPONSES)
        theirs = send(other_lab, RESPONSES)
        assert theirs["id"] != dataset["id"]
        path = f"/v1/campaigns/{campaign['id']}/datasets"
        lab.refused(lab.post(path, {"dataset_id": theirs["id"]}), 404)
        other_lab.refused(other_lab.post(path, {"dataset_id": theirs["id"]}), 404)
        other_lab.refused(other_lab.get(path), 404)
