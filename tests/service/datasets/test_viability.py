"""Viability without plate effects: as a table, and as a submission to a campaign."""

import pytest

from service.kit.database import dump_json
from service.kit.ids import new_id
from tests.contract.seeds import dataset_fit
from tests.lab import column
from tests.service.datasets.files import read, send

COURSES = """well,plate,cell_line,treatment,time_h,phase
A1,p1,X,DMSO,0,10
A2,p1,X,A 1 uM,0,10
A3,p1,X,B 2 uM,0,10
A4,p1,X,A 1 uM + B 2 uM,0,10
"""
NAME = "X / A + B"


def experiment(values=(1.0, 0.9, 0.5, 0.3), **judged):
    doses = [[0.0, 0.0], [0.0, 2.0], [1.0, 0.0], [1.0, 2.0]]
    return {
        "pair": [0, 1],
        "drugs": ["A", "B"],
        "judged": {"skill": 0.2, **judged},
        "viability": [
            {"doses": pair, "mean": mean, "sd": 0.01 if mean != 1.0 else 0.0}
            for pair, mean in zip(doses, values, strict=True)
        ],
    }


def fitted(lab, dataset, experiments):
    """A fit as a worker would have stored it; returns its path."""
    results = lab.parts.artifacts.put(dump_json({"experiments": experiments}).encode(), "json")
    job_id = new_id("job")
    with lab.parts.database.writing() as session:
        fit = dataset_fit(lab.workspace_id, dataset["id"], job_id, results)
        session.add(fit)
        return f"/v1/dataset-fits/{fit.id}"


def time_courses(lab, text=COURSES):
    return read(lab, send(lab, text, holds="time_courses", kind="signal"))


@pytest.fixture
def dataset(lab):
    return time_courses(lab)


@pytest.fixture
def campaign(lab):
    return lab.campaign()["id"]


def submit(lab, fit, campaign, params=None, **body):
    return lab.post(f"{fit}/submissions", {"campaign_id": campaign, **body}, params=params)


class TestTable:
    def test_a_row_for_each_dose_pair_but_the_control(self, lab, dataset):
        fit = fitted(lab, dataset, {NAME: experiment()})
        found = lab.get(f"{fit}/viability.csv")
        assert found.headers["content-type"].startswith("text/csv")
        assert found.text.splitlines() == [
            "cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_fraction,"
            "viability_sd,block",
            f"X,B,2.0,,,0.9,0.01,{NAME}",
            f"X,A,1.0,,,0.5,0.01,{NAME}",
            f"X,A,1.0,B,2.0,0.3,0.01,{NAME}",
        ]

    def test_only_what_is_asked(self, lab, dataset):
        fit = fitted(lab, dataset, {NAME: experiment(), "X / B + C": experiment()})
        text = lab.get(f"{fit}/viability.csv", params={"experiment": NAME}).text
        assert len(text.splitlines()) == 4
        problem = lab.refused(lab.get(f"{fit}/viability.csv", params={"experiment": "Z"}), 422)
        assert "it has 'X / A + B', 'X / B + C'" in problem["detail"]

    def test_the_table_is_one_that_can_be_submitted(self, lab, dataset, campaign):
        """By hand and by request they are the same bytes, and so one submission."""
        fit = fitted(lab, dataset, {NAME: experiment()})
        text = lab.get(f"{fit}/viability.csv").text
        by_hand = lab.ok(lab.submit(campaign, text))
        assert by_hand["ignored_columns"] == ["viability_sd"]
        again = submit(lab, fit, campaign)
        assert (again.status_code, again.json()["id"]) == (200, by_hand["id"])


class TestSubmitting:
    def test_an_ordinary_submission_that_names_its_fit(self, lab, dataset, campaign):
        fit = fitted(lab, dataset, {NAME: experiment()})
        response = submit(lab, fit, campaign)
        assert response.status_code == 201
        found = response.json()
        assert response.headers["Location"] == f"/v1/submissions/{found['id']}"
        assert fit.endswith(found["dataset_fit_id"])
        assert found["dataset_fit_id"] in found["note"]
        assert dataset["id"] in found["note"]
        wells = lab.wells(campaign)
        assert sorted(column(wells, "viability")) == [0.3, 0.5, 0.9]
        assert set(column(wells, "block")) == {NAME}
        original = lab.get(f"{response.headers['Location']}/original").text
        assert original == lab.get(f"{fit}/viability.csv").text

    def test_twice_is_once(self, lab, dataset, campaign):
        fit = fitted(lab, dataset, {NAME: experiment()})
        first = lab.ok(submit(lab, fit, campaign))
        with lab.untouched():
            again = submit(lab, fit, campaign)
        assert again.status_code == 200
        assert (again.json()["id"], again.json()["outcome"]) == (first["id"], "existing")

    def test_a_dry_run_stores_nothing(self, lab, dataset, campaign):
        fit = fitted(lab, dataset, {NAME: experiment()})
        with lab.untouched():
            found = submit(lab, fit, campaign, {"dry_run": True})
        assert found.status_code == 200
        assert (found.json()["outcome"], found.json()["n_measurements"]) == ("checked", 3)

    def test_no_well_twice_by_another_fit(self, lab, dataset, campaign):
        first = lab.ok(submit(lab, fitted(lab, dataset, {NAME: experiment()}), campaign))
        other = fitted(lab, dataset, {NAME: experiment((1.0, 0.8, 0.4, 0.2))})
        with lab.untouched():
            problem = lab.refused(submit(lab, other, campaign), 409)
        assert first["id"] in problem["detail"]
        for well in lab.wells(campaign):
            body = {"withdrawn": True, "reason": "fitted again"}
            lab.ok(lab.post(f"/v1/measurements/{well['id']}/corrections", body))
        assert lab.ok(submit(lab, other, campaign))["outcome"] == "stored"
        assert sorted(column(lab.wells(campaign), "viability")) == [0.2, 0.4, 0.8]

    def test_nor_in_another_selection(self, lab, dataset):
        campaign = lab.campaign()["id"]
        fit = fitted(lab, dataset, {NAME: experiment(), "Y / A + B": experiment()})
        lab.ok(submit(lab, fit, campaign, experiments=[NAME]))
        problem = lab.refused(submit(lab, fit, campaign), 409)
        assert NAME in problem["detail"]
        assert lab.ok(submit(lab, fit, campaign, experiments=["Y / A + B"]))["n_measurements"] == 3


class TestRefusing:
    def test_a_fit_that_must_not_be_trusted(self, lab, dataset, campaign):
        doubt = "the chains did not agree (R-hat 1.19, above 1.05): do not trust its intervals"
        fit = fitted(lab, dataset, {NAME: experiment(doubt=doubt)})
        with lab.untouched():
            problem = lab.refused(submit(lab, fit, campaign), 409)
        assert "chains did not agree" in problem["detail"]
        assert "despite_doubt" in problem["detail"]
        assert lab.ok(submit(lab, fit, campaign, despite_doubt=True))["outcome"] == "stored"

    def test_a_fit_without_viability(self, lab, dataset, campaign):
        fit = fitted(lab, dataset, {})
        assert "no viability" in lab.refused(submit(lab, fit, campaign), 409)["detail"]
        assert "no viability" in lab.refused(lab.get(f"{fit}/viability.csv"), 409)["detail"]

    def test_names_that_the_campaign_does_not_know(self, lab, dataset):
        campaign = lab.campaign(compounds=["A", "C"])["id"]
        fit = fitted(lab, dataset, {NAME: experiment()})
        with lab.untouched():
            problem = lab.refused(submit(lab, fit, campaign), 422)
        assert {error["code"] for error in problem["errors"]} == {"unknown_compound"}

    def test_the_cell_line_is_said_once(self, lab, dataset, campaign):
        fit = fitted(lab, dataset, {NAME: experiment()})
        problem = lab.refused(submit(lab, fit, campaign, cell_line="X"), 422)
        assert "leave out cell_line" in problem["detail"]
        nameless = fitted(lab, dataset, {"A + B": experiment()})
        problem = lab.refused(submit(lab, nameless, campaign), 422)
        assert "say cell_line" in problem["detail"]
        assert lab.ok(submit(lab, nameless, campaign, cell_line="X"))["n_measurements"] == 3

    def test_doses_without_a_unit(self, lab, campaign):
        dataset = time_courses(lab, COURSES.replace(" uM", ""))
        fit = fitted(lab, dataset, {NAME: experiment()})
        assert "without a molar unit" in lab.refused(submit(lab, fit, campaign), 409)["detail"]

    def test_a_closed_campaign(self, lab, dataset, campaign):
        fit = fitted(lab, dataset, {NAME: experiment()})
        version = lab.ok(lab.get(f"/v1/campaigns/{campaign}"))["version"]
        lab.ok(lab.patch(f"/v1/campaigns/{campaign}", {"status": "closed"}, version))
        assert "closed" in lab.refused(submit(lab, fit, campaign), 409)["detail"]

    def test_of_another_workspace(self, lab, other_lab, dataset, campaign):
        fit = fitted(lab, dataset, {NAME: experiment()})
        other_lab.refused(submit(other_lab, fit, campaign), 404)
        other_lab.refused(other_lab.get(f"{fit}/viability.csv"), 404)
