"""POST /v1/campaigns/{id}/replays: strategies compared on the campaign's own past."""

import csv
import io
from itertools import product

import numpy as np
import pytest

from models.evaluation.replay import play_round
from models.objectives.scores import measure_blocks
from service.kit.auth.principal import Principal
from service.kit.unit import Unit
from service.learning.past_rounds import past_campaign
from service.learning.snapshots import read_snapshot
from tests.lab import codes, column
from tests.service.learning.bench import PAIRS, measure, open_campaign, singles

LINES = ("X", "Y", "V", "W")
BLOCKS = tuple(product(PAIRS, LINES))
SMALL = {"models": ["plain_gp"], "initial": 10, "batch": 10, "rounds": 2, "seeds": 2, "seed": 1}


@pytest.fixture
def campaign(lab):
    """Forty measured blocks."""
    lab.compounds(*"ABCDE")
    lab.cell_lines(*LINES)
    objective = {"score": "bliss_mean", "hit_threshold": 1.0}
    campaign = open_campaign(lab, cell_lines=list(LINES), objective=objective)
    lab.measure(campaign["id"], *singles(lines=LINES))
    measure(lab, campaign, BLOCKS)
    return campaign


def path(campaign):
    return f"/v1/campaigns/{campaign['id']}/replays"


def ask(lab, campaign, **body):
    return lab.post(path(campaign), {**SMALL, **body})


class TestReplaying:
    def test_a_table_by_round(self, lab, campaign):
        asked = ask(lab, campaign, acquisitions=["greedy", "random"])
        assert asked.status_code == 202
        answer = lab.result(asked, "replay")
        assert (answer["campaign_id"], answer["n_blocks"]) == (campaign["id"], 40)
        assert answer["asked"] == {
            **{k: v for k, v in SMALL.items() if k != "seed"},
            "acquisitions": ["greedy", "random"],
        }
        assert answer["failed"] == {}
        assert column(answer["strategies"], "name") == ["plain_gp+greedy", "random"]
        assert column(answer["strategies"], "model") == ["plain_gp", None]
        for one in answer["strategies"]:
            assert column(one["rounds"], "round") == [0, 1, 2]
            assert column(one["rounds"], "measured") == [10, 20, 30]
            assert column(one["rounds"], "measured_share") == [0.25, 0.5, 0.75]
            found = [row["hits"]["mean"] for row in one["rounds"]]
            assert found == sorted(found)
        first = [one["rounds"][0]["hits"] for one in answer["strategies"]]
        assert first[0] == first[1], "all begin with the same blocks"
        assert set(answer["strategies"][0]["against"]) == {"random"}
        assert lab.every(path(campaign)) == [
            {k: v for k, v in answer.items() if k not in ("strategies", "failed")}
        ]
        assert not list((lab.parts.settings.data_dir / "replays").glob("*"))
        self.as_csv(lab, answer)

    def as_csv(self, lab, answer):
        response = lab.get(f"/v1/replays/{answer['id']}", params={"format": "csv"})
        rows = list(csv.DictReader(io.StringIO(response.text)))
        assert column(rows, "strategy") == ["plain_gp+greedy"] * 3 + ["random"] * 3
        for row, one in zip(rows[:3], answer["strategies"][0]["rounds"], strict=True):
            assert float(row["hits"]) == one["hits"]["mean"]

    def test_what_is_not_said_comes_from_the_campaign(self, lab, campaign):
        job = lab.ok(lab.post(path(campaign), {}))
        (event,) = lab.events("job.requested", subject_id=job["id"])
        asked = event["new"]["args"]["asked"]
        assert asked["models"] == ["auto"]
        assert asked["acquisitions"] == ["hit_probability", "random"]

    def test_a_replay_that_broke_goes_on(self, lab, campaign, monkeypatch):
        asked = ask(lab, campaign, acquisitions=["random"])
        with monkeypatch.context() as patch:
            patch.setattr("service.learning.jobs.new_id", lambda _: 1 / 0)
            assert lab.run(asked)["status"] == "queued"
        assert lab.result(asked, "replay")["n_blocks"] == 40


class TestLimits:
    """What the laboratory can do binds every strategy, chance included."""

    @pytest.fixture
    def batches(self, monkeypatch):
        """The blocks of every batch that is chosen, with the strategy's acquisition."""
        found = []

        def spy(campaign, rules, *args, **more):
            choice = play_round(campaign, rules, *args, **more)
            found.append((rules.acquisition, campaign.candidates.select(choice.chosen)))
            return choice

        monkeypatch.setattr("models.evaluation.replay.play_round", spy)
        return found

    @pytest.fixture
    def rows(self, lab, campaign):
        """Rows of compounds in the screen, by name."""
        with lab.parts.database.reading() as session:
            unit = Unit(session, Principal.of_job(lab.workspace_id, "job_x"), lab.parts)
            snapshot = read_snapshot(unit, campaign["id"])
        ids = snapshot.screen.compounds.ids
        return {snapshot.names[one]: row for row, one in enumerate(ids)}

    def limit(self, lab, campaign, **limits):
        now = f"/v1/campaigns/{campaign['id']}"
        version = lab.get(now).json()["version"]
        lab.ok(lab.patch(now, {"limits": {"batch_size": 4, **limits}}, version))

    def test_plates_stock_and_compounds_that_must_not_meet(self, lab, campaign, batches, rows):
        self.limit(
            lab,
            campaign,
            blocks_per_plate=5,
            lines_per_plate=1,
            never_together=[["A", "B"]],
            stock={"C": 2},
        )
        answer = lab.result(ask(lab, campaign, acquisitions=["greedy", "random"]), "replay")
        assert answer["failed"] == {}
        assert [name for name, _ in batches].count("random") == len(batches) / 2 == 4
        for _, at in batches:
            assert len(at) > 0
            assert (at.compounds == rows["C"]).sum() <= 2
            assert len(np.unique(at.cell_line)) <= 2, "two plates of five, one line each"
            pairs = {frozenset(pair) for pair in at.compounds.tolist()}
            assert frozenset((rows["A"], rows["B"])) not in pairs

    def test_caps(self, lab, campaign, batches):
        self.limit(lab, campaign, max_per_compound=3, max_per_cell_line=4)
        lab.result(ask(lab, campaign, acquisitions=["greedy", "random"], batch=7), "replay")
        assert len(batches) == 8
        for _, at in batches:
            assert np.bincount(at.compounds.ravel()).max() <= 3
            assert np.bincount(at.cell_line).max() <= 4

    def test_a_round_that_the_plates_cannot_hold_is_refused(self, lab, campaign):
        self.limit(lab, campaign, plates=2, blocks_per_plate=4)
        job = lab.run(ask(lab, campaign))
        problem = job["problem"]
        assert (job["status"], problem["status"]) == ("failed", 422)
        assert "plates (2) of 4 blocks each, a round holds 8" in problem["detail"]
        lab.result(ask(lab, campaign, batch=8), "replay")


class TestRefusals:
    def test_too_few_blocks(self, lab):
        few = open_campaign(lab)
        measure(lab, few, product(PAIRS, "XY"))
        with lab.untouched():
            problem = lab.refused(ask(lab, few), 409)
        assert "20 blocks are measured, a replay needs 40" in problem["detail"]

    def test_blocks_without_a_score_do_not_count(self, lab):
        lab.compounds(*"ABCDE")
        lab.cell_lines(*LINES)
        campaign = open_campaign(lab, cell_lines=list(LINES))
        lab.measure(campaign["id"], *singles(lines="XYV"))
        measure(lab, campaign, BLOCKS)
        job = lab.run(ask(lab, campaign))
        assert (job["status"], job["problem"]["status"]) == ("failed", 409)
        assert "30 measured blocks have a score" in job["problem"]["detail"]

    def test_more_than_was_measured(self, lab, campaign):
        with lab.untouched():
            problem = lab.refused(ask(lab, campaign, initial=35), 422)
        assert codes(problem) == [("initial", "/initial")]

    def test_what_breaks_the_schema(self, lab, campaign, subtests):
        for body, pointer in [
            ({"models": []}, "/models"),
            ({"models": ["best"]}, "/models/0"),
            ({"models": ["plain_gp", "plain_gp"]}, "/"),
            ({"acquisitions": ["best"]}, "/acquisitions/0"),
            ({"initial": 1}, "/initial"),
            ({"rounds": 51}, "/rounds"),
            ({"seeds": 0}, "/seeds"),
        ]:
            with subtests.test(str(body)), lab.untouched():
                problem = lab.refused(ask(lab, campaign, **body), 422)
                assert codes(problem)[0][1] == pointer

    def test_scopes_and_other_workspaces(self, lab, other_lab, campaign):
        with lab.untouched():
            other_lab.refused(ask(other_lab, campaign), 404)
        other_lab.refused(other_lab.get(path(campaign)), 404)
        lab.refused(ask(lab.with_scopes("read"), campaign), 403)
        lab.refused(lab.get("/v1/replays/rpl_00000000000000000000000000"), 404)


def test_a_screen_reveals_what_it_is_asked_for(lab, campaign):
    """The blocks that are shown score as they do in the whole; nothing else is shown."""
    with lab.parts.database.reading() as session:
        unit = Unit(session, Principal.of_job(lab.workspace_id, "job_x"), lab.parts)
        snapshot = read_snapshot(unit, campaign["id"])
    past, screen = past_campaign(snapshot, "bliss_mean"), snapshot.screen
    rows = np.array([3, 17, 31])
    shown = measure_blocks(past.reveal(rows), "bliss_mean")
    n = len(screen.compounds)
    assert shown.candidates.keys(n).tolist() == past.candidates.select(rows).keys(n).tolist()
    np.testing.assert_array_equal(shown.score, past.truth[rows])
    assert len(measure_blocks(past.reveal(np.empty(0, np.int64)), "bliss_mean")) == 0
