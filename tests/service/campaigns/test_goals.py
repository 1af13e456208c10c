"""What a campaign looks for: said with names, kept with ids, refused where it makes no sense."""

import pytest

from models.objectives.objective import Efficacy, Pareto, Score, Selectivity, WeightedSum
from service.campaigns.goal_lines import FRONT_ACQUISITIONS
from service.learning.objectives import objective_of
from tests.lab import codes

SELECTIVE = {"kind": "selectivity", "kill": ["x"], "spare": [{"cell_line": "Y", "weight": 2.0}]}
FRONT = {
    "kind": "pareto",
    "objectives": [
        {"objective": {"kind": "score"}, "reference": 0.0},
        {"objective": {"kind": "efficacy"}, "reference": 20.0},
    ],
}


def change(lab, campaign, version=1, **body):
    return lab.patch(f"/v1/campaigns/{campaign['id']}", body, version)


def with_goal(lab, goal, **more):
    return lab.campaign(objective={"goal": goal, **more})


def line_ids(campaign):
    return {row["name"]: row["id"] for row in campaign["cell_lines"]}


class TestSaying:
    def test_without_a_goal_nothing_changes(self, lab):
        campaign = lab.campaign(objective={"score": "hsa_mean", "hit_threshold": 7.0})
        wanted = {"score": "hsa_mean", "hit_threshold": 7.0, "goal": None}
        assert campaign["objective"] == wanted

    def test_cell_lines_by_name_come_back_by_id(self, lab):
        campaign = with_goal(lab, SELECTIVE, hit_threshold=30.0)
        ids = line_ids(campaign)
        assert campaign["objective"]["goal"] == {
            "kind": "selectivity",
            "kill": [{"cell_line": ids["X"], "weight": 1.0}],
            "spare": [{"cell_line": ids["Y"], "weight": 2.0}],
            "of": {"kind": "efficacy", "summary": "mean"},
        }
        again = lab.ok(change(lab, campaign, objective=campaign["objective"]))
        assert again["objective"] == campaign["objective"]
        assert lab.every("/v1/campaigns")[0]["objective"] == campaign["objective"]
        (event,) = lab.events("campaign.created")
        assert event["new"]["goal"]["kill"][0]["cell_line"] == ids["X"]

    def test_inside_sums_and_fronts(self, lab):
        goal = {
            "kind": "pareto",
            "objectives": [
                {"objective": {**SELECTIVE, "of": {"kind": "score"}}, "reference": 1.0},
                {
                    "objective": {
                        "kind": "weighted_sum",
                        "terms": [{"objective": SELECTIVE, "weight": -0.5}],
                    },
                    "reference": -3.0,
                },
            ],
        }
        campaign = with_goal(lab, goal)
        ids = line_ids(campaign)
        kept = campaign["objective"]["goal"]
        assert kept["objectives"][1]["objective"]["terms"][0]["objective"]["kill"] == [
            {"cell_line": ids["X"], "weight": 1.0}
        ]
        sides = {"kill": ((ids["X"], 1.0),), "spare": ((ids["Y"], 2.0),)}
        assert objective_of(kept, "hsa_mean") == Pareto(
            (
                Selectivity(**sides, of=Score("hsa_mean")),
                WeightedSum(((-0.5, Selectivity(**sides)),)),
            ),
            (1.0, -3.0),
        )

    def test_what_the_models_read(self):
        assert objective_of(None, "bliss_mean") is None
        assert objective_of({"kind": "score"}, "hsa_max") == Score("hsa_max")
        assert objective_of({"kind": "efficacy", "summary": "max"}, "hsa_max") == Efficacy("max")

    def test_a_front_brings_its_own_threshold_and_acquisition(self, lab):
        campaign = with_goal(lab, FRONT)
        assert campaign["objective"]["hit_threshold"] == 0.0
        assert campaign["learning"]["acquisition"] == FRONT_ACQUISITIONS[0]
        said = with_goal(lab, FRONT, hit_threshold=2.0)
        assert said["objective"]["hit_threshold"] == 2.0
        learning = {"acquisition": "front_probability"}
        chosen = lab.campaign(objective={"goal": FRONT}, learning=learning)
        assert chosen["learning"]["acquisition"] == "front_probability"

    def test_a_change_of_goal_is_one_version(self, lab):
        campaign = lab.campaign()
        changed = lab.ok(change(lab, campaign, objective={"goal": SELECTIVE}))
        assert changed["version"] == 2
        assert changed["objective"]["goal"]["kind"] == "selectivity"
        back = lab.ok(change(lab, campaign, 2, objective={}))
        assert back["objective"]["goal"] is None

    def test_of_a_cell_line_that_joins_in_the_same_change(self, lab):
        campaign = lab.campaign()
        (new,) = lab.cell_lines("Z")
        goal = {"kind": "selectivity", "kill": ["Z"]}
        changed = lab.ok(change(lab, campaign, objective={"goal": goal}, add_cell_lines=["Z"]))
        assert changed["objective"]["goal"]["kill"][0]["cell_line"] == new


GOAL = "/objective/goal"


class TestRefusals:
    @pytest.mark.parametrize(
        ("goal", "code", "pointer"),
        [
            ({"kind": "selectivity", "kill": ["X", "Q"]}, "unknown_cell_line", f"{GOAL}/kill/1"),
            ({"kind": "selectivity", "kill": ["X"], "spare": ["x"]}, "repeated",
             f"{GOAL}/spare/0"),
            ({"kind": "weighted_sum", "terms": [
                {"objective": {"kind": "selectivity", "kill": ["Q"]}, "weight": 1.0}]},
             "unknown_cell_line", f"{GOAL}/terms/0/objective/kill/0"),
        ],
    )  # fmt: skip
    def test_names_that_lead_nowhere(self, lab, goal, code, pointer):
        campaign = lab.campaign()
        with lab.untouched():
            problem = lab.refused(change(lab, campaign, objective={"goal": goal}), 422)
        assert codes(problem) == [(code, pointer)]
        assert lab.ok(lab.get(f"/v1/campaigns/{campaign['id']}")) == campaign

    def test_a_line_outside_of_the_campaign(self, lab):
        lab.campaign()
        lab.cell_lines("Far")
        body = {"name": "n", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}
        asked = {**body, "objective": {"goal": {"kind": "selectivity", "kill": ["Far"]}}}
        problem = lab.refused(lab.post("/v1/campaigns", asked), 422)
        assert codes(problem) == [("unknown_cell_line", f"{GOAL}/kill/0")]
        assert "campaign first" in problem["detail"]

    def test_what_makes_no_sense(self, lab, subtests):
        campaign = lab.campaign()
        score, efficacy = {"kind": "score"}, {"kind": "efficacy"}
        term = {"objective": score, "weight": 1.0}
        for goal, pointer, words in [
            ({"kind": "fame"}, GOAL, "efficacy"),
            ({"kill": ["X"]}, GOAL, "kind"),
            ("score", GOAL, "object"),
            ({"kind": "efficacy", "summary": "least"}, f"{GOAL}/summary", "max"),
            ({"kind": "selectivity", "kill": []}, f"{GOAL}/kill", "1"),
            ({"kind": "selectivity", "kill": [3]}, f"{GOAL}/kill/0", "name"),
            ({"kind": "selectivity", "kill": [{"cell_line": "X", "weight": 0.0}]},
             f"{GOAL}/kill/0/weight", "greater than 0"),
            ({"kind": "weighted_sum", "terms": [term, {"objective": efficacy, "weight": 0.0}]},
             f"{GOAL}/terms/1", "weight is 0"),
            ({"kind": "weighted_sum", "terms": [term, {"objective": SELECTIVE, "weight": 1.0}]},
             GOAL, "do not mix"),
            ({"kind": "weighted_sum", "terms": [{"objective": FRONT, "weight": 1.0}]},
             f"{GOAL}/terms/0/objective", "kind"),
            ({"kind": "pareto", "objectives": FRONT["objectives"][:1]}, f"{GOAL}/objectives", "2"),
            ({"kind": "pareto", "objectives": [FRONT["objectives"][0]] * 2}, GOAL, "twice"),
            ({"kind": "pareto", "objectives": [{"objective": score}] * 2},
             f"{GOAL}/objectives/0/reference", "required"),
        ]:  # fmt: skip
            with subtests.test(pointer=pointer, words=words), lab.untouched():
                problem = lab.refused(change(lab, campaign, objective={"goal": goal}), 422)
                assert codes(problem)[0][1] == pointer
                assert words in problem["errors"][0]["message"]

    def test_inhibition_beside_a_score_that_does_not_tell_it(self, lab):
        campaign = lab.campaign()
        objective = {"score": "loewe_mean", "goal": SELECTIVE}
        problem = lab.refused(change(lab, campaign, objective=objective), 422)
        assert codes(problem)[0][1] == "/objective"
        of_scores = {**SELECTIVE, "of": {"kind": "score"}}
        lab.ok(change(lab, campaign, objective={"score": "loewe_mean", "goal": of_scores}))

    def test_acquisitions_that_do_not_suit_the_goal(self, lab):
        campaign = lab.campaign()
        refused = change(lab, campaign, objective={"goal": FRONT})
        assert codes(lab.refused(refused, 422)) == [("acquisition", "/learning/acquisition")]
        both = {"objective": {"goal": FRONT}, "learning": {}}
        assert lab.ok(change(lab, campaign, **both))["version"] == 2
        plain = {"learning": {"acquisition": "ucb"}}
        problem = lab.refused(change(lab, campaign, 2, **plain), 422)
        assert "expected_hypervolume" in problem["detail"]
        path = f"/v1/campaigns/{campaign['id']}/recommendations"
        problem = lab.refused(lab.post(path, {"acquisition": "greedy"}), 422)
        assert codes(problem) == [("acquisition", "/acquisition")]
        learning = {"acquisition": "front_probability"}
        asked = {"name": "n", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}
        problem = lab.refused(lab.post("/v1/campaigns", {**asked, "learning": learning}), 422)
        assert codes(problem) == [("acquisition", "/learning/acquisition")]
