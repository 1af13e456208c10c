"""What may still be hoped for: counted with the pool, the same in any blocks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.acquisition import outlook, pool
from models.acquisition.hit_calibration import HitCalibration
from models.acquisition.hit_counts import count_hits
from models.acquisition.lab_rules import LabRules
from models.acquisition.outlook import Outlook, plate_size
from models.acquisition.pool import PoolRequest, PoolScores, summarise_pool
from models.acquisition.rules import RoundRules
from models.acquisition.stopping import GO_ON
from models.bayes.predictive import Noise
from models.pharmacology.random_numbers import combine, normals
from models.screen import Candidates

RULES = RoundRules(batch_size=10, draws=32)
EVIDENCE = {
    "n_held_out": 200,
    "model": {"spearman": 0.6, "elpd": -3.0},
    "baselines": {"mean": {"elpd": -3.4}},
}
FIRST, SECOND = np.triu_indices(25, 1)
AT = Candidates(np.stack([FIRST, SECOND], 1), np.arange(300) % 3)
USABLE = np.arange(300) % 4 != 0
CALIBRATION = HitCalibration.of(np.full(400, 0.3), np.arange(400) < 60)


class Scores:
    """Independent scores around 4, sd 3."""

    model, noise_df = "scores", 4.0

    def draws(self, candidates: Candidates, n: int, seed: int) -> torch.Tensor:
        key = combine(candidates.keys(1000))
        return torch.from_numpy(4.0 + 3.0 * normals(seed, key, n, 1)[..., 0]).float()

    def noise_scale(self, candidates: Candidates) -> torch.Tensor:
        return 1.0 + torch.from_numpy(candidates.cell_line).float()


def look(
    calibration: HitCalibration | None = None, threads: int = 1, rules: RoundRules = RULES
) -> tuple[dict, PoolScores]:
    seen = Outlook(rules, int(USABLE.sum()), calibration)
    request = PoolRequest("hit_probability", rules.hit_threshold, 1.0, rules.draws, 4, 40)
    scores = summarise_pool(Scores(), AT, USABLE, request, watch=seen.watch, threads=threads)
    if calibration is not None:
        scores = replace(scores, hit_probability=calibration.apply(scores.hit_probability))
    return seen.describe(Scores(), AT, USABLE, scores, 4, 7, EVIDENCE), scores


def draws_at(rows: np.ndarray) -> tuple[np.ndarray, Noise]:
    at = AT.select(rows)
    scale = Scores().noise_scale(at).numpy().astype(np.float64)
    return Scores().draws(at, 32, 4).numpy().astype(np.float64), Noise(scale, 4.0)


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
def test_the_whole_pool_is_counted(calibration: HitCalibration | None) -> None:
    found, scores = look(calibration)
    rows = np.flatnonzero(USABLE)
    draws, noise = draws_at(rows)
    whole = count_hits(draws, 10.0, noise, calibration=calibration)
    assert found["left"]["expected"] == pytest.approx(whole.expected, rel=1e-4)
    assert (found["left"]["low"], found["left"]["high"]) == whole.interval
    assert found["expected_left"] == pytest.approx(scores.hit_probability[USABLE].sum())
    best = rows[np.argsort(-scores.hit_probability[rows], kind="stable")[:10]]
    draws, noise = draws_at(best)
    plate = count_hits(draws, 10.0, noise, calibration=calibration)
    assert found["next_plate"]["expected"] == pytest.approx(plate.expected)
    assert (found["found"], found["usable"], found["plate_size"]) == (7, 225, 10)
    assert found["advice"] == GO_ON
    assert found["numbers"]["calibrated"] is (calibration is not None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_calibration_lowers_what_was_promised() -> None:
    assert look(CALIBRATION)[0]["left"]["expected"] < 0.8 * look()[0]["left"]["expected"]


def test_blocks_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = look(CALIBRATION)[0]
    monkeypatch.setattr(pool, "ELEMENTS_PER_BLOCK", 50 * 32)
    alone, together = look(CALIBRATION)[0], look(CALIBRATION, threads=3)[0]
    assert alone == together
    assert alone["left"]["expected"] == pytest.approx(whole["left"]["expected"], rel=1e-5)


def test_too_large_a_pool_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = look()[0]
    monkeypatch.setattr(outlook, "MOST_COUNTED", 224)
    found = look()[0]
    assert found["left"] is found["advice"] is found["numbers"] is None
    assert "225 candidates" in found["reason"]
    assert "up to 224" in found["reason"]
    for name in ("expected_left", "next_plate", "found"):
        assert found[name] == counted[name]


def test_a_plate_is_what_the_laboratory_has() -> None:
    assert plate_size(RULES) == 10
    plates = LabRules(blocks_per_plate=6, compounds_per_plate=6, lines_per_plate=1)
    assert plate_size(replace(RULES, lab=plates)) == 6
    assert plate_size(replace(RULES, lab=LabRules(max_per_compound=2))) == 10
