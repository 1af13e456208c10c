"""Learning from a data set over HTTP, and what a campaign is told of it."""

import numpy as np
import pytest

from tests.lab import column
from tests.service.datasets.files import read, send
from tests.service.learning.bench import short_training, start_campaign

DRUGS = ("A", "B", "C", "D")
READOUTS = tuple(f"gene{k}" for k in range(6))


def responses(seed: int = 0) -> str:
    """Singles and all pairs of four drugs; A and B answer each other in gene0."""
    generator = np.random.default_rng(seed)
    effect = generator.normal(size=(4, 6))
    rows = ["treatment," + ",".join(READOUTS)]
    sets = [(), *((i,) for i in range(4)), *((i, j) for i in range(4) for j in range(i))]
    for _ in range(2):
        for drugs in sets:
            values = effect[list(drugs)].sum(axis=0) + 0.05 * generator.normal(size=6)
            if set(drugs) == {0, 1}:
                values[0] += 3.0
            name = " + ".join(f"{DRUGS[i]} 1 uM" for i in drugs) or "DMSO"
            rows.append(f"{name}," + ",".join(f"{v:.4f}" for v in values))
    return "\n".join(rows) + "\n"


def fit(lab, dataset, seed=3):
    job = lab.run(lab.post(f"/v1/datasets/{dataset['id']}/fits", {"seed": seed}))
    assert job["status"] == "succeeded", job
    return lab.ok(lab.get(job["result"]["fit"]))


@pytest.fixture
def dataset(lab):
    return read(lab, send(lab, responses()))


@pytest.mark.slow
class TestResponses:
    def test_every_model_stands_beside_the_baselines(self, lab, dataset):
        found = fit(lab, dataset)
        models = found["report"]["models"]
        assert {"no_change", "mean", "additive", "ridge", "ridge_singles", "stacked"} <= set(models)
        assert models["stacked"]["mse"] <= 1.02 * min(
            each["mse"] for name, each in models.items() if name in ("additive", "ridge", "mean")
        )
        assert 0.0 <= found["skill"] <= 1.0
        assert found["report"]["network"].startswith("no network: 0 conditions")
        assert [event["type"] for event in lab.every("/v1/events")].count("dataset.fitted") == 1

    def test_the_same_seed_gives_the_same_fit(self, lab, dataset):
        one, other = fit(lab, dataset), fit(lab, dataset)
        assert one["id"] != other["id"]
        assert one["report"] == other["report"]
        results = [lab.ok(lab.get(f"/v1/dataset-fits/{f['id']}/results")) for f in (one, other)]
        assert results[0] == results[1]
        assert column(lab.every(f"/v1/datasets/{dataset['id']}/fits"), "id") == [
            one["id"],
            other["id"],
        ]

    def test_the_pair_that_answers_each_other_stands_out(self, lab, dataset):
        found = fit(lab, dataset)
        results = lab.ok(lab.get(f"/v1/dataset-fits/{found['id']}/results"))
        strongest = max(results["pairs"], key=lambda row: row["strength"])
        assert strongest["perturbations"] == ["A", "B"]
        assert strongest["readouts"][0]["name"] == "gene0"
        assert strongest["readouts"][0]["interaction"] == pytest.approx(3.0, abs=0.3)
        assert strongest["measured"]

    def test_a_recommendation_says_why(self, lab, dataset):
        with short_training():
            campaign = start_campaign(lab)
            fitted = fit(lab, dataset)
            path = f"/v1/campaigns/{campaign['id']}/datasets"
            lab.ok(lab.post(path, {"dataset_id": dataset["id"]}))
            recommendation = lab.recommend(campaign["id"])
        path = f"/v1/recommendations/{recommendation['id']}/candidates"
        said = {}
        for candidate in recommendation["candidates"]:
            why = lab.ok(lab.get(f"{path}/{candidate['rank']}/why"))
            names = frozenset(compound["name"] for compound in candidate["compounds"])
            said[names] = why["mechanisms"]
        for names, mechanisms in said.items():
            assert len(mechanisms) == (1 if names <= set(DRUGS) else 0)
        if frozenset("AB") in said:
            (one,) = said[frozenset("AB")]
            assert one["fit_id"] == fitted["id"]
            assert "gene0" in one["words"]


def knock_outs(genes=10, controls=12, seed=2) -> str:
    """Two wells of each gene's knock-out and untreated wells; each gene activates the next one."""
    generator = np.random.default_rng(seed)
    names = [f"GENE{k}" for k in range(genes)]
    rows = ["treatment," + ",".join(names)]
    for target in [None] * controls + [k for k in range(genes) for _ in range(2)]:
        values = 0.1 * generator.normal(size=genes)
        if target is not None:
            values[target] -= 3.0
            values[(target + 1) % genes] -= 2.0
        name = "DMSO" if target is None else names[target]
        rows.append(f"{name}," + ",".join(f"{v:.4f}" for v in values))
    return "\n".join(rows) + "\n"


@pytest.mark.slow
class TestNetworks:
    def test_are_learned_from_knock_outs_and_controls(self, lab):
        found = fit(lab, read(lab, send(lab, knock_outs())))
        assert not found["report"]["network"].startswith("no network")
        network = lab.ok(lab.get(f"/v1/dataset-fits/{found['id']}/results"))["network"]
        edges = {(edge["regulator"], edge["target"]) for edge in network["edges"]}
        true = {(f"GENE{k}", f"GENE{(k + 1) % 10}") for k in range(10)}
        assert len(edges & true) >= 8
        assert len(edges - true) <= 2

    def test_without_enough_controls_say_so(self, lab):
        found = fit(lab, read(lab, send(lab, knock_outs(controls=4))))
        assert (
            "the controls make 2 samples as large as a condition, 3 are"
            in (found["report"]["network"])
        )


class TestRefusing:
    def test_too_little_is_said_in_words(self, lab):
        dataset = read(lab, send(lab, "treatment,ERK\nDMSO,0\nA 1 uM,1\n"))
        job = lab.run(lab.post(f"/v1/datasets/{dataset['id']}/fits", {}))
        assert job["status"] == "failed"
        assert "at least 4 treated conditions, there are 1" in job["problem"]["detail"]

    def test_not_before_it_was_read(self, lab):
        sent = send(lab, responses())
        problem = lab.refused(lab.post(f"/v1/datasets/{sent['id']}/fits", {}), 409)
        assert "a worker is reading it" in problem["detail"]
