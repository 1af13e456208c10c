"""POST /v1/campaigns/{id}/recommendations and what came of it."""

import csv
import io
import math

import pyarrow.parquet
import pytest

from models import rounds
from service.batches.recommending import RecommendJob
from tests.lab import block_of, codes, column
from tests.service.learning.bench import BLOCKS, FIRST, block, measure, open_campaign

NUMBERS = ["mean", "sd", "q05", "q50", "q95", "hit_probability", "acquisition"]


def ask(lab, campaign, **body):
    return lab.post(f"/v1/campaigns/{campaign['id']}/recommendations", body)


def mark(lab, campaign, kind, pair, line=None):
    body = {"marks": [{"mark": kind, "compounds": list(pair), "cell_line": line}]}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", body))


def path(recommendation):
    return f"/v1/recommendations/{recommendation['id']}"


def named(blocks):
    return {(*pair, line) for pair, line in blocks}


def ranked(recommendation):
    return [block_of(candidate) for candidate in recommendation["candidates"]]


def batch(recommendation):
    return [block_of(c) for c in recommendation["candidates"] if c["in_batch"]]


class TestAsking:
    def test_the_answer_is_a_job(self, lab, campaign):
        response = ask(lab, campaign, seed=5, batch_size=2, acquisition="ucb")
        job = lab.ok(response)
        assert response.status_code == 202
        assert response.headers["location"] == f"/v1/jobs/{job['id']}"
        assert (job["kind"], job["status"]) == ("recommend", "queued")
        (event,) = lab.events("job.requested")
        assert event["subject_id"] == job["id"]
        assert event["new"]["args"]["seed"] == 5

    @pytest.mark.parametrize("status", ["draft", "paused", "closed"])
    def test_only_an_open_campaign_goes_on(self, lab, status):
        campaign = open_campaign(lab, status="draft" if status == "draft" else "open")
        if status != "draft":
            lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": status}, 1))
        with lab.untouched():
            problem = lab.refused(ask(lab, campaign), 409)
        assert status in problem["detail"]

    def test_what_breaks_the_schema(self, lab, campaign, subtests):
        for body, pointer in [
            ({"batch_size": 0}, "/batch_size"),
            ({"batch_size": 10_001}, "/batch_size"),
            ({"acquisition": "best"}, "/acquisition"),
            ({"seed": -1}, "/seed"),
            ({"kappa": 2.0}, "/kappa"),
        ]:
            with subtests.test(pointer), lab.untouched():
                assert codes(lab.refused(ask(lab, campaign, **body), 422))[0][1] == pointer


class TestRanking:
    def test_everything_that_was_not_measured(self, lab, campaign):
        answer = lab.recommend(campaign["id"], seed=5)
        assert (answer["round"], answer["seed"]) == (1, 5)
        assert answer["n_pool"] == answer["n_ranked"] == len(answer["candidates"]) == 14
        assert set(ranked(answer)) == named(BLOCKS[6:])
        candidates = answer["candidates"]
        assert column(candidates, "rank") == list(range(1, 15))
        assert column(candidates, "in_batch") == [True] * 4 + [False] * 10
        assert column(candidates, "batch_position") == [1, 2, 3, 4] + [None] * 10
        values = column(candidates, "acquisition")
        assert values[:4] == sorted(values[:4], reverse=True)
        assert values[4:] == sorted(values[4:], reverse=True)
        for one in candidates:
            assert one["q05"] < one["q50"] < one["q95"]
            total = math.hypot(one["epistemic_sd"], one["observation_sd"])
            assert one["sd"] == pytest.approx(total, rel=1e-4)
            assert one["acquisition"] == one["hit_probability"]
            assert one["reason"]
            assert [c["doses_um"] for c in one["compounds"]] == [[0.3, 3.0]] * 2
            nearest = one["nearest_measured"]
            assert (*nearest["compounds"], nearest["cell_line"]) in named(FIRST)

    def test_it_comes_with_its_model(self, lab, campaign):
        answer = lab.recommend(campaign["id"])
        model = lab.ok(lab.get(f"/v1/models/{answer['model_id']}"))
        assert (model["job_id"], model["n_blocks"]) == (answer["job_id"], 6)
        assert "6 measured blocks" in answer["reason"]

    def test_the_same_data_and_seed_give_the_same_list(self, lab, campaign):
        one, two, other = (lab.recommend(campaign["id"], seed=s) for s in (5, 5, 6))
        assert one["id"] != two["id"]
        assert one["candidates"] == two["candidates"]
        assert one["candidates"] != other["candidates"]

    def test_what_is_said_now_wins_over_the_campaign(self, lab, campaign):
        answer = lab.recommend(campaign["id"], batch_size=2, acquisition="greedy")
        assert answer["n_batch"] == 2
        assert answer["rules"]["acquisition"] == "greedy"
        means = column(answer["candidates"], "mean")
        assert means[2:] == sorted(means[2:], reverse=True)

    def test_the_rules_are_those_of_the_moment_of_asking(self, lab, campaign):
        asked = ask(lab, campaign, seed=1)
        limits = {"limits": {"batch_size": 1, "max_per_compound": None}}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", limits, 1))
        assert lab.result(asked, "recommendation")["n_batch"] == 4

    def test_a_cap_on_one_compound(self, lab, campaign):
        limits = {"limits": {"batch_size": 6, "max_per_compound": 1}}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", limits, 1))
        chosen = batch(lab.recommend(campaign["id"]))
        used = [name for a, b, _ in chosen for name in (a, b)]
        assert 1 <= len(chosen) <= 2
        assert len(used) == len(set(used))

    @pytest.mark.parametrize("blocks", [0, 4])
    def test_before_there_can_be_a_model(self, lab, blocks):
        campaign = open_campaign(lab)
        if blocks:
            measure(lab, campaign, BLOCKS[:blocks])
        answer = lab.recommend(campaign["id"])
        assert answer["model_id"] is None
        assert (answer["n_pool"], answer["n_batch"]) == (20 - blocks, 4)
        assert "a model needs" in answer["reason"]
        assert lab.every(f"/v1/campaigns/{campaign['id']}/models") == []

    def test_by_chance(self, lab, campaign):
        answer = lab.recommend(campaign["id"], acquisition="random")
        assert answer["model_id"] is None
        assert "random" in answer["reason"]
        assert set(ranked(answer)) == named(BLOCKS[6:])


class TestPool:
    def test_bans_pins_and_both(self, lab, campaign):
        mark(lab, campaign, "ban", "EA")
        mark(lab, campaign, "pin", "AE", "Y")
        mark(lab, campaign, "ban", "DB", "X")
        mark(lab, campaign, "pin", "CE")
        mark(lab, campaign, "ban", "CE", "Y")
        answer = lab.recommend(campaign["id"])
        gone = {("A", "E", "X"), ("B", "D", "X"), ("C", "E", "Y")}
        assert set(ranked(answer)) == named(BLOCKS[6:]) - gone
        assert set(batch(answer)[:2]) == {("A", "E", "Y"), ("C", "E", "X")}

    def test_a_pin_on_what_was_measured_is_done_with(self, lab, campaign):
        mark(lab, campaign, "pin", "AB", "X")
        assert ("A", "B", "X") not in ranked(lab.recommend(campaign["id"]))

    def test_only_the_pairs_that_are_allowed(self, lab):
        campaign = open_campaign(lab, pairs=[["B", "A"], ["E", "C"]])
        answer = lab.recommend(campaign["id"])
        assert set(ranked(answer)) == {(*p, x) for p in ("AB", "CE") for x in "XY"}
        assert answer["n_pool"] == answer["n_batch"] == 4

    def test_what_joins_the_campaign_joins_the_pool(self, lab, campaign):
        lab.compounds("F")
        extra = {"add_compounds": [{"compound": "F", "doses_um": [7.0]}]}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", extra, 1))
        answer = lab.recommend(campaign["id"])
        assert answer["n_pool"] == 24
        assert {b[:2] for b in ranked(answer) if "F" in b} == {(c, "F") for c in "ABCDE"}

    def test_a_block_is_measured_even_where_it_cannot_be_scored(self, lab, campaign):
        lab.compounds("F")
        extra = {"add_compounds": [{"compound": "F", "doses_um": [7.0]}]}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", extra, 1))
        lab.measure(campaign["id"], "X,A,1,F,7,0.5")
        answer = lab.recommend(campaign["id"])
        assert ("A", "F", "X") not in ranked(answer)
        assert ("A", "F", "Y") in ranked(answer)

    def test_a_withdrawn_block_comes_back(self, lab, campaign):
        for well in lab.wells(campaign["id"]):
            if len(well["doses"]) == 2:
                gone = {"withdrawn": True, "reason": "plate was lost"}
                lab.ok(lab.post(f"/v1/measurements/{well['id']}/corrections", gone))
        assert lab.recommend(campaign["id"])["n_pool"] == 20

    def test_nothing_is_left(self, lab):
        campaign = open_campaign(lab, pairs=[["A", "B"]])
        mark(lab, campaign, "ban", "AB")
        job = lab.run(ask(lab, campaign))
        assert (job["status"], job["problem"]["status"]) == ("failed", 409)
        assert job["problem"]["type"] == "/problems/nothing-left"
        assert lab.every(f"/v1/campaigns/{campaign['id']}/recommendations") == []

    def test_no_pair_is_allowed(self, lab):
        job = lab.run(ask(lab, open_campaign(lab, pairs=[])))
        assert (job["status"], job["problem"]["status"]) == ("failed", 422)
        assert "pool is empty" in job["problem"]["detail"]

    def test_more_pins_than_the_batch_holds(self, lab, campaign):
        for pair in ("AE", "BC", "CE"):
            mark(lab, campaign, "pin", pair)
        job = lab.run(ask(lab, campaign))
        assert job["status"] == "failed"
        assert "pinned, the batch holds 4" in job["problem"]["detail"]
        assert lab.every(f"/v1/campaigns/{campaign['id']}/recommendations") == []


class TestReading:
    @pytest.fixture
    def answer(self, lab, campaign):
        return lab.recommend(campaign["id"])

    def read(self, lab, answer, format, **headers):
        return lab.get(path(answer), params={"format": format}, headers=headers)

    def test_csv_says_the_same_as_json(self, lab, answer):
        response = self.read(lab, answer, "csv")
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(response.text)))
        for row, candidate in zip(rows, answer["candidates"], strict=True):
            self.same(row, candidate)
            assert row["in_batch"] == str(candidate["in_batch"])
            assert row["batch_position"] == str(candidate["batch_position"] or "")

    def test_parquet_says_the_same_as_json(self, lab, answer):
        response = self.read(lab, answer, "parquet")
        assert response.headers["content-type"] == "application/vnd.apache.parquet"
        rows = pyarrow.parquet.read_table(io.BytesIO(response.content)).to_pylist()
        for row, candidate in zip(rows, answer["candidates"], strict=True):
            self.same(row, candidate)
            assert row["in_batch"] is candidate["in_batch"]
            assert row["batch_position"] == candidate["batch_position"]

    def same(self, row, candidate):
        assert [float(row[name]) for name in NUMBERS] == [candidate[name] for name in NUMBERS]
        assert int(row["rank"]) == candidate["rank"]
        first, second = candidate["compounds"]
        line = candidate["cell_line"]
        assert (row["compound_1"], row["compound_2"]) == (first["name"], second["name"])
        assert (row["compound_1_id"], row["compound_2_id"]) == (first["id"], second["id"])
        assert (row["cell_line"], row["cell_line_id"]) == (line["name"], line["id"])
        assert [float(dose) for dose in row["doses_1_um"].split()] == first["doses_um"]
        assert row["reason"] == candidate["reason"]
        assert row["nearest_measured"].startswith(
            " + ".join(candidate["nearest_measured"]["compounds"])
        )

    def test_doses_keep_all_their_digits(self, lab):
        dose = 0.12345678901
        campaign = open_campaign(lab, doses_um=[dose])
        answer = lab.recommend(campaign["id"])
        row = next(csv.DictReader(io.StringIO(self.read(lab, answer, "csv").text)))
        assert float(row["doses_1_um"]) == dose

    def test_names_do_not_run_in_a_spreadsheet(self, lab):
        lab.compounds("=A", "@B")
        lab.cell_lines("-X")
        answer = lab.recommend(lab.campaign(compounds=["=A", "@B"], cell_lines=["-X"])["id"])
        text = self.read(lab, answer, "csv").text.splitlines()[1]
        assert ",'=A," in text
        assert ",'@B," in text
        assert ",'-X," in text

    def test_who_has_it_need_not_fetch_it_again(self, lab, answer):
        tags = {}
        for format in ("json", "csv", "parquet"):
            tag = tags[format] = self.read(lab, answer, format).headers["etag"]
            for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                response = self.read(lab, answer, format, **{"If-None-Match": known})
                assert (response.status_code, response.content) == (304, b"")
                assert response.headers["etag"] == tag
            other = self.read(lab, answer, format, **{"If-None-Match": '"other"'})
            assert other.status_code == 200
        assert len(set(tags.values())) == 3

    def test_the_list_is_short(self, lab, campaign, answer):
        (summary,) = lab.every(f"/v1/campaigns/{campaign['id']}/recommendations")
        assert summary == {k: v for k, v in answer.items() if k != "candidates"}

    def test_of_another_workspace(self, lab, other_lab, campaign, answer):
        for format in ("json", "csv", "parquet"):
            other_lab.refused(self.read(other_lab, answer, format), 404)
            known = {"If-None-Match": "*"}
            other_lab.refused(self.read(other_lab, answer, format, **known), 404)
        other_lab.refused(other_lab.get(f"/v1/campaigns/{campaign['id']}/recommendations"), 404)
        with lab.untouched():
            other_lab.refused(ask(other_lab, campaign), 404)

    def test_the_worker_stands_in_the_trail(self, lab, answer):
        (event,) = lab.events("recommendation.created")
        assert (event["subject_id"], event["actor"]) == (answer["id"], answer["job_id"])


class TestResuming:
    def test_a_job_goes_on_where_it_broke(self, lab, campaign, monkeypatch):
        """Fit and ranking of the first attempt are stored; the second one only publishes."""
        expected = lab.recommend(campaign["id"], seed=5)["candidates"]
        asked = ask(lab, campaign, seed=5)
        with monkeypatch.context() as patch:
            patch.setattr(RecommendJob, "_row", lambda *_: 1 / 0)
            assert lab.run(asked)["status"] == "queued"
        for stage in ("fit", "score_pool", "select"):
            monkeypatch.setattr(rounds, stage, None)
        measure(lab, campaign, [BLOCKS[7]])
        lab.measure(campaign["id"], *block("AE", "X"))
        answer = lab.result(asked, "recommendation")
        assert answer["candidates"] == expected

    def test_wells_that_arrive_between_fit_and_ranking_do_not_mix_in(
        self, lab, campaign, monkeypatch
    ):
        expected = lab.recommend(campaign["id"], seed=5)["candidates"]
        asked = ask(lab, campaign, seed=5)
        with monkeypatch.context() as patch:
            patch.setattr(rounds, "score_pool", lambda *_, **__: 1 / 0)
            assert lab.run(asked)["status"] == "queued"
        measure(lab, campaign, [BLOCKS[7]])
        assert lab.result(asked, "recommendation")["candidates"] == expected
