"""The arms of the comparison: the same candidates and truth, other knowledge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import cold_start
from benchmarks.cold_start import ARMS, Laboratory, of_lines, play, report
from models.evaluation.past_campaign import one_line
from models.evaluation.study import fingerprints_of
from models.rounds import RoundRules
from tests.models.evaluation.small_folder import read_folder


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """Two lines each, of which both campaigns have one; the earlier one measured a third."""
    for name, value in (("LINES", 2), ("SHARED", 1), ("MEASURED", 0.34)):
        monkeypatch.setattr(cold_start, name, value)
    folder = read_folder(tmp_path)
    return Laboratory(folder, fingerprints_of(folder), "bliss_mean", 0)


def test_one_line_is_one_line(tmp_path: Path) -> None:
    folder = read_folder(tmp_path)
    ours = of_lines(folder, np.array([1]))
    theirs = one_line(folder, folder.cell_line_names[1])
    assert ours.cell_line_names == theirs.cell_line_names
    assert np.array_equal(ours.blocks.compounds, theirs.blocks.compounds)
    assert np.array_equal(ours.combinations.viability, theirs.combinations.viability)
    assert np.array_equal(ours.block, theirs.block)


def test_arms_differ_in_what_is_known_only(laboratory: Laboratory) -> None:
    known = {}
    campaigns = {arm: laboratory.campaign(arm) for arm in ARMS}
    for arm, campaign in campaigns.items():
        assert np.array_equal(campaign.truth, campaigns["none"].truth)
        nothing, one = (campaign.reveal(np.arange(k)).wells for k in (0, 1))
        known[arm] = int((nothing.n_compounds == 2).sum())
        assert (one.n_compounds == 2).sum() > known[arm]
    assert known["none"] == 0
    assert 0 < known["inside"] < known["all"]


def test_what_the_earlier_campaign_measured_is_no_find(laboratory: Laboratory) -> None:
    campaign, whole = laboratory.campaign("all"), laboratory.whole
    n = len(whole.compound_names)
    done = whole.blocks.select(laboratory.earlier).keys(n)
    assert not np.isin(campaign.candidates.keys(n), done).any()


def test_a_campaign_is_played_and_reported(laboratory: Laboratory) -> None:
    rules = RoundRules(acquisition="random", batch_size=2)
    found = {arm: [play(laboratory.campaign(arm), arm, rules, 2, 0)] for arm in ARMS}
    for shares in found.values():
        assert shares[0] == sorted(shares[0])
    lines = report(found)
    assert lines[0].split() == ["arm", "round", "1", "round", "2"]
    assert len(lines) == 1 + 3 + 4
