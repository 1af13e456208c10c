"""Questions to a recommendation: why this one, what instead, what if."""

import pytest

from tests.lab import block_of, codes, column
from tests.service.learning.bench import measure, open_campaign, start_campaign


def begin(lab, **more):
    """A campaign whose model is the quickest."""
    return start_campaign(lab, **{"learning": {"model": "plain_gp"}, **more})


@pytest.fixture
def campaign(lab):
    return begin(lab)


@pytest.fixture
def answer(lab, campaign):
    return lab.recommend(campaign["id"], acquisition="greedy")


def path(answer, rest):
    return f"/v1/recommendations/{answer['id']}/{rest}"


def why(lab, answer, rank):
    return lab.get(path(answer, f"candidates/{rank}/why"))


def instead(lab, answer, rank, **query):
    return lab.get(path(answer, f"candidates/{rank}/alternatives"), params=query)


def try_it(lab, answer, **body):
    return lab.post(path(answer, "dry-run"), body)


def mark(lab, campaign, kind, block):
    a, b, line = block
    item = {"mark": kind, "compounds": [a, b], "cell_line": line}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", {"marks": [item]}))


class TestWhy:
    def test_the_best_of_the_batch(self, lab, answer):
        told = lab.ok(why(lab, answer, 1))
        assert told["candidate"] == answer["candidates"][0]
        assert (told["decided_by"], told["place"], told["ranked_by"]) == ("value", 1, "greedy")
        assert "number 1 of 14" in told["words"]
        assert told["lowest_in_batch"] == answer["candidates"][3]["acquisition"]
        assert told["kept_out_by"] == []
        assert told["unavailable"] is None
        assert "greedy" in told["why_ranked_so"]

    def test_what_comes_after_the_batch(self, lab, answer):
        told = lab.ok(why(lab, answer, 9))
        assert (told["decided_by"], told["place"]) == ("value", 9)
        assert "lowest of the batch" in told["words"]

    def test_measured_with_the_same_compounds(self, lab, answer):
        told = lab.ok(why(lab, answer, 5))
        own = set(block_of(told["candidate"])[:2])
        order = ["both compounds", "one compound, same cell line", "one compound"]
        kinds = [order.index(one["shared"]) for one in told["related"]]
        assert kinds == sorted(kinds)
        assert 1 <= len(kinds) <= 5
        for one in told["related"]:
            assert own & set(one["compounds"])
        assert told["nearest_measured"] == told["candidate"]["nearest_measured"]

    def test_a_limit_kept_it_out(self, lab):
        limits = {"batch_size": 6, "max_per_compound": 1}
        campaign = begin(lab, limits=limits)
        answer = lab.recommend(campaign["id"], acquisition="greedy")
        first = answer["n_batch"] + 1
        told = [lab.ok(why(lab, answer, rank)) for rank in range(first, 15)]
        kept_out = [one for one in told if one["decided_by"] == "limits"]
        assert kept_out == told
        for one in kept_out:
            assert one["kept_out_by"][0]["limit"] == "max_per_compound"
            assert "would be in 2 blocks, the limit is 1" in one["words"]
            assert "The batch has room" in one["words"]

    def test_pinned_and_made_way(self, lab, campaign):
        plain = lab.recommend(campaign["id"], acquisition="greedy")
        last = block_of(plain["candidates"][-1])
        mark(lab, campaign, "pin", last)
        answer = lab.recommend(campaign["id"], acquisition="greedy")
        told = lab.ok(why(lab, answer, 1))
        assert (told["decided_by"], told["place"]) == ("pin", 14)
        assert block_of(told["candidate"]) == last
        gave_way = lab.ok(why(lab, answer, 5))
        assert (gave_way["decided_by"], gave_way["place"]) == ("pin", 4)
        assert "1 of 4 places went to pinned" in gave_way["words"]
        assert lab.ok(why(lab, answer, 6))["decided_by"] == "value"

    def test_what_happened_to_it_since(self, lab, campaign, answer):
        mark(lab, campaign, "ban", block_of(answer["candidates"][0]))
        lab.ok(lab.accept(answer, ranks=[2]))
        assert "banned since" in lab.ok(why(lab, answer, 1))["unavailable"]
        assert "another batch" in lab.ok(why(lab, answer, 2))["unavailable"]

    def test_before_there_is_a_model(self, lab):
        answer = lab.recommend(open_campaign(lab)["id"])
        told = lab.ok(why(lab, answer, 20))
        assert told["related"] == []
        assert told["decided_by"] in ("value", "order")

    def test_ranks_that_are_none(self, lab, answer):
        problem = lab.refused(why(lab, answer, 15), 404)
        assert "ranks 1 to 14" in problem["detail"]
        lab.refused(why(lab, answer, 0), 422)


class TestAlternatives:
    def test_best_first_and_near(self, lab, answer):
        value = answer["candidates"][3]["acquisition"]
        told = lab.ok(instead(lab, answer, 4, within=1.0))
        assert (told["rank"], told["value"], told["compared_by"]) == (4, value, "acquisition")
        values = column(told["items"], "value")
        assert values == sorted(values, reverse=True)
        expected = [
            one["rank"]
            for one in answer["candidates"]
            if not one["in_batch"] and one["acquisition"] >= value - abs(value)
        ]
        assert [one["candidate"]["rank"] for one in told["items"]] == expected
        for one in told["items"]:
            assert one["difference"] == pytest.approx(one["value"] - value)

    def test_only_what_fits(self, lab):
        limits = {"batch_size": 2, "max_per_compound": 1}
        campaign = begin(lab, limits=limits)
        answer = lab.recommend(campaign["id"], acquisition="thompson")
        told = lab.ok(instead(lab, answer, 1, within=1.0))
        assert told["compared_by"] == "hit_probability"
        other = set(block_of(answer["candidates"][1])[:2])
        assert told["items"]
        for one in told["items"]:
            assert not other & set(block_of(one["candidate"])[:2])

    def test_only_what_is_free(self, lab, campaign, answer):
        before = lab.ok(instead(lab, answer, 4, within=1.0))["items"]
        gone = block_of(before[0]["candidate"])
        measure(lab, campaign, [(gone[:2], gone[2])])
        after = lab.ok(instead(lab, answer, 4, within=1.0))["items"]
        assert after == before[1:]

    def test_refusals(self, lab, answer):
        problem = lab.refused(instead(lab, answer, 9), 409)
        assert "not in the batch" in problem["detail"]
        lab.refused(instead(lab, answer, 99), 404)
        for within in (-0.1, 1.1, "all"):
            lab.refused(instead(lab, answer, 1, within=within), 422)


class TestDryRun:
    def test_the_batch_as_recommended(self, lab, answer):
        with lab.untouched():
            told = lab.ok(try_it(lab, answer))
        assert told["ranks"] == [1, 2, 3, 4]
        assert told["expected_hits"] == told["recommended"]
        hits, chosen = told["expected_hits"], answer["candidates"][:4]
        assert hits["expected"] == pytest.approx(sum(column(chosen, "hit_probability")))
        assert 0 <= hits["low"] <= hits["high"] <= 4
        assert told["forecast"]["mean"] == pytest.approx(sum(column(chosen, "mean")) / 4)
        assert told["n_compounds"] == len({c for o in chosen for c in block_of(o)[:2]})
        assert told["broken_limits"] == told["unavailable"] == told["plates"] == []
        assert told["cost"] is None

    def test_candidates_by_name_are_the_same_as_ranks(self, lab, answer):
        chosen = [answer["candidates"][row] for row in (6, 1)]
        asked = [
            {"compounds": list(block_of(one)[1::-1]), "cell_line": block_of(one)[2]}
            for one in chosen
        ]
        told = lab.ok(try_it(lab, answer, candidates=asked))
        assert told["ranks"] == [7, 2]
        assert told == lab.ok(try_it(lab, answer, ranks=[7, 2]))

    def test_what_it_would_break_and_cost(self, lab):
        limits = {
            "plates": 2,
            "blocks_per_plate": 2,
            "lines_per_plate": 1,
            "cost_per_plate": 10.0,
            "cost_per_block": 1.0,
            "budget": 25.0,
            "stock": {"A": 1},
        }
        answer = lab.recommend(begin(lab, limits=limits)["id"])
        own = lab.ok(try_it(lab, answer))
        assert own["broken_limits"] == []
        assert own["cost"] == 10.0 * len(own["plates"]) + answer["n_batch"] <= 25
        told = lab.ok(try_it(lab, answer, ranks=list(range(1, 15))))
        broken = set(column(told["broken_limits"], "limit"))
        assert {"batch_size", "plates", "budget", "stock"} <= broken
        assert all(plate["n_blocks"] <= 2 for plate in told["plates"])
        assert all(len(plate["cell_lines"]) == 1 for plate in told["plates"])
        assert told["cost"] == 10.0 * len(told["plates"]) + 14

    def test_what_is_taken(self, lab, answer):
        lab.ok(lab.accept(answer, ranks=[2]))
        (taken,) = lab.ok(try_it(lab, answer, ranks=[1, 2]))["unavailable"]
        assert taken.startswith("Rank 2")

    def test_without_a_model_blocks_count_for_themselves(self, lab):
        answer = lab.recommend(open_campaign(lab)["id"])
        told = lab.ok(try_it(lab, answer))
        assert told["expected_hits"]["high"] <= 4

    def test_refusals(self, lab, answer, subtests):
        pair = {"compounds": ["A", "B"], "cell_line": "X"}
        for body, code, pointer in [
            ({"ranks": [1, 15]}, "rank", "/ranks/1"),
            ({"ranks": [1, 1]}, "rank", "/ranks/1"),
            ({"candidates": [pair]}, "candidate", "/candidates/0"),
            ({"candidates": [{**pair, "compounds": ["A", "Z"]}]}, "unknown_compound",
             "/candidates/0/compounds/1"),
            ({"candidates": [{**pair, "cell_line": "Q"}]}, "unknown_cell_line",
             "/candidates/0/cell_line"),
        ]:  # fmt: skip
            with subtests.test(str(body)), lab.untouched():
                problem = lab.refused(try_it(lab, answer, **body), 422)
                assert codes(problem)[0] == (code, pointer)
        lab.refused(try_it(lab, answer, ranks=[1], candidates=[pair]), 422)
        lab.refused(try_it(lab, answer, ranks=[]), 422)


def test_a_key_that_reads_may_ask_and_no_other_workspace(lab, other_lab, answer):
    reader = lab.with_scopes("read")
    assert lab.ok(try_it(reader, answer))["ranks"] == [1, 2, 3, 4]
    lab.ok(why(reader, answer, 1))
    for ask in (lambda by: why(by, answer, 1), lambda by: instead(by, answer, 1)):
        other_lab.refused(ask(other_lab), 404)
    other_lab.refused(try_it(other_lab, answer), 404)
    writer = lab.with_scopes("measurements:write")
    lab.refused(try_it(writer, answer), 403)
