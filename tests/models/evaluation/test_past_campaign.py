"""Screens to replay on: the same block has the same wells whenever it is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.evaluation.past_campaign import FolderSource, SimulationSource, one_line
from models.objectives.scores import measure_blocks
from models.screen import ScreenError
from tests.models.evaluation.small_folder import read_folder, write_folder


def test_a_simulation_is_measured_once() -> None:
    campaign = SimulationSource(8, 2, "bliss_mean", doses=2, replicates=2).load()
    rows = np.array([5, 40, 17])
    few, all_of_it = campaign.reveal(rows), campaign.reveal(np.arange(56))
    n = len(few.compounds)
    shown = measure_blocks(few, "bliss_mean")
    keys = campaign.candidates.select(rows).keys(n)
    assert set(shown.candidates.keys(n)) == set(keys)
    pairs = few.wells.select(few.wells.n_compounds == 2)
    whole = all_of_it.wells.select(all_of_it.wells.n_compounds == 2)
    assert len(pairs) == 3 * 2 * 2 * 2
    assert set(map(float, pairs.viability)) <= set(map(float, whole.viability))
    at = {int(k): s for k, s in zip(shown.candidates.keys(n), shown.score, strict=True)}
    for row, key in zip(rows, keys, strict=True):
        assert at[int(key)] == pytest.approx(campaign.observed[row], abs=1.0)
    assert np.corrcoef(campaign.truth, campaign.observed)[0, 1] > 0.6
    assert not np.array_equal(campaign.truth, campaign.observed)


def test_a_folder_is_its_own_truth(tmp_path: Path) -> None:
    source = FolderSource(str(write_folder(tmp_path)), "bliss_mean")
    campaign = source.load()
    assert np.array_equal(campaign.truth, campaign.observed)
    assert source.of_seed(3) is source
    rows = np.array([3, 100])
    shown = measure_blocks(campaign.reveal(rows), "bliss_mean")
    assert np.array_equal(shown.candidates.compounds, campaign.candidates.select(rows).compounds)


def test_one_line_is_a_campaign_of_its_own(tmp_path: Path) -> None:
    path = str(write_folder(tmp_path))
    folder = read_folder(tmp_path)
    name = folder.cell_line_names[2]
    campaign = FolderSource(path, "bliss_mean", name).load()
    whole = FolderSource(path, "bliss_mean").load()
    assert len(campaign.candidates) == 28
    assert set(campaign.candidates.cell_line) == {0}
    kept = whole.candidates.cell_line == 2
    assert np.array_equal(campaign.candidates.compounds, whole.candidates.compounds[kept])
    assert np.allclose(campaign.truth, whole.truth[kept], atol=2.0)
    screen = campaign.reveal(np.array([4]))
    assert screen.cell_lines.ids == (name,)
    assert (screen.wells.n_compounds == 2).sum() == 9
    with pytest.raises(ScreenError, match="no cell line 'Q'"):
        one_line(folder, "Q")


def test_the_digest_knows_the_data_and_nothing_else(tmp_path: Path) -> None:
    path = str(write_folder(tmp_path))
    first, again = (FolderSource(path, "bliss_mean").load().digest for _ in range(2))
    assert first == again
    assert FolderSource(path, "bliss_max").load().digest != first
    assert FolderSource(path, "bliss_mean", "L1").name == "L1"
    one, other = (SimulationSource(6, 1, "bliss_mean", seed=k).load().digest for k in (0, 1))
    assert one != other
    drawn = SimulationSource(6, 1, "bliss_mean").of_seed(1).load()
    assert drawn.digest == other
