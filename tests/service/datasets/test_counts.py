"""Counts of cells: read, learned from with a network of seconds, and told over HTTP."""

import json

import numpy as np
import pytest
import torch

from models.dynamics.stochastic.cell_counts import Experiment
from models.dynamics.stochastic.growth import GrowthOptions
from models.dynamics.stochastic.neural_posterior import Training
from models.screen import ScreenError
from service.assays.files_in.problems import FileError
from service.assays.files_in.sources import open_source
from service.datasets.learning import counts
from service.datasets.learning.counts import Network, conditions_of, learn_counts
from service.datasets.reading.counts_table import read_counts
from tests.service.datasets.files import read, send

TIMES = np.arange(0.0, 49.0, 8.0)
RATES = {
    "DMSO": (0.05, 0.005, 0.0, 0.0),
    "A 1 uM": (0.03, 0.02, 0.0, 0.0),
    "B 1 uM": (0.03, 0.02, 0.0, 0.0),
    "A 1 uM + B 1 uM": (0.01, 0.07, 0.0, 0.0),
}
"""The pair kills more than its parts together."""


def table(odd=False, wells=3):
    """Simulated wells as a file; with ``odd``, one condition that no cell could do."""
    rows = ["well,time_h,treatment,count"]
    frame = Experiment(TIMES, np.array([9.0]), np.array([3.0]), np.zeros((1, 2)))
    generator = torch.Generator().manual_seed(4)
    for name, rates in RATES.items():
        theta = torch.tensor([[*rates, 0.03, 0.03]], dtype=torch.float64)
        first = torch.full((1, wells), 9.0, dtype=torch.float64)
        made = frame.simulate(theta, first, generator)[0].numpy()
        if odd and name == "A 1 uM":
            made[:, 3] = 700
        for well, row in enumerate(made):
            rows += [
                f"{name[:3]}{len(name)}-{well},{time:g},{name},{count:.0f}"
                for time, count in zip(TIMES, np.maximum(row, np.arange(7) == 0), strict=True)
            ]
    return "\n".join(rows) + "\n"


def found_in(text):
    return read_counts(open_source("c.csv", text.encode()))


@pytest.fixture
def quick(monkeypatch):
    options = GrowthOptions(Training(steps=60, rows=96, rate=3e-3, every=60), 120, 600)
    monkeypatch.setattr(counts, "OPTIONS", options)
    for name, few in (("DRAWS", 60), ("CHECKED", 19), ("REPLICAS", 40), ("SHOWN", 60)):
        monkeypatch.setattr(counts, name, few)
    monkeypatch.setattr(counts, "DAYS", (4.0,))


def learn(found, earlier=(), seed=0):
    return learn_counts(
        found, earlier, seed=seed, on_progress=lambda *_: None, should_stop=lambda: False
    )


class TestReading:
    def test_a_table(self):
        found = found_in(table())
        assert found.channels == ("count",)
        assert found.perturbations == ("A", "B")
        conditions, notes = conditions_of(found)
        assert [(one.doses, one.wells.counts.shape) for one in conditions] == [
            ((0, 0), (3, 7)), ((0, 1), (3, 7)), ((1, 0), (3, 7)), ((1, 1), (3, 7)),
        ]  # fmt: skip
        assert [one.wells.levels for one in conditions] == [(0, 0), (1, 0), (1, 0), (1, 1)]
        assert notes == ()

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (("count\n", "OD\n"), "one column of counts"),
            ((",9\n", ",9.5\n"), "9.5 is no number of cells"),
            (("A 1 uM + B 1 uM", "A 1 uM + B 1 uM + C 1 uM"), "holds 3 drugs"),
        ],
    )
    def test_what_is_no_count(self, change, says):
        text = "well,time_h,treatment,count\nw,0,A 1 uM + B 1 uM,9\nw,8,A 1 uM + B 1 uM,7\n"
        with pytest.raises(FileError, match=says):
            found_in(text.replace(*change))

    def test_what_is_left_aside_is_said(self):
        text = table(wells=14).replace("DMS4-0,0,DMSO,9", "DMS4-0,0,DMSO,")
        conditions, notes = conditions_of(found_in(text))
        assert max(len(one.wells.counts) for one in conditions) == 12
        assert "1 wells without cells counted at 0 h" in notes[0]
        assert "more than 12 wells" in notes[1]

    def test_nothing_to_start_from(self):
        text = "well,time_h,treatment,count\nw,0,A 1 uM,0\nw,8,A 1 uM,0\n"
        with pytest.raises(ScreenError, match="nothing to start from"):
            conditions_of(found_in(text))


@pytest.mark.slow
class TestLearning:
    def test_rates_extinction_times_and_a_refusal(self, quick):
        found = found_in(table(odd=True))
        learned = learn(found)
        json.dumps([learned.report, learned.results, learned.metadata], allow_nan=False)
        rows = {tuple(row["treatment"]): row for row in learned.results["conditions"]}
        assert rows["A",]["guard"]["refused"]
        assert rows["A",]["rates"] is None
        assert "no rates are given" in rows["A",]["guard"]["words"]
        assert learned.report["refused"] >= 1
        control = rows[()]
        net = control["rates"]["division"]["mean"] - control["rates"]["death"]["mean"]
        assert net == pytest.approx(0.045, abs=0.02)
        assert all(0 <= p <= 1 for p in control["extinction"]["mean"])
        both = rows["A", "B"]
        if both["rates"] is not None:
            assert both["extinction"]["mean"][1] > control["extinction"]["mean"][1]
        times = learned.results["sampling_times"]
        assert times["chosen"][0]["time_h"] >= 16
        assert times["all"]["nats"] > 0

    def test_a_network_of_another_design_is_not_read(self, quick):
        other = Network("of another design", lambda: pytest.fail("read for nothing"))
        first = learn(found_in(table()), [other])
        assert "channels" in first.report["health"]
        (pair,) = first.results["extinction_of_pairs"] or [None]
        if pair is not None:
            assert pair["drugs"] == ["A", "B"]
            assert "of drugs that do not interact" in pair["words"]

    def test_over_http(self, lab, quick):
        dataset = read(lab, send(lab, table(), holds="cell_counts", kind="counts"))
        assert dataset["summary"]["n_pairs"] == 3
        fits = []
        for _ in range(2):
            job = lab.run(lab.post(f"/v1/datasets/{dataset['id']}/fits", {"seed": 3}))
            assert job["status"] == "succeeded", job
            fits.append(lab.ok(lab.get(job["result"]["fit"])))
        assert fits[0]["model"] == "stochastic growth"
        assert fits[0]["skill"] == 0
        assert any("was used again" in note for note in fits[1]["report"]["notes"])
        results = [lab.ok(lab.get(f"/v1/dataset-fits/{one['id']}/results")) for one in fits]
        assert results[0] == results[1]
        assert len(results[0]["conditions"]) == 4


def test_counts_are_counts(lab):
    sent = lab.post(
        "/v1/datasets", content=table(), params={"holds": "cell_counts", "kind": "log_ratio"}
    )
    assert "say kind=counts" in lab.refused(sent, 422)["detail"]
    sent = lab.post(
        "/v1/datasets", content=table(), params={"holds": "cell_counts", "kind": "signal"}
    )
    assert "say kind=counts" in lab.refused(sent, 422)["detail"]
