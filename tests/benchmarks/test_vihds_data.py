"""Reading plate-reader files of both header styles, and the merged set of the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.vihds_data import doses, merged, read_file
from models.screen import ScreenError

STYLES = {"long": "Raw Data ({}) {} - 0 h {} min ", "plain": "{}"}


def write(path: Path, style: str, order: tuple[str, ...]) -> Path:
    """Two times of four channels in this order; a reading tells its channel and time."""
    cells = [STYLES[style].format(name, i + 1, i) for name in order for i in range(2)]
    values = {"OD": 0.1, "mRFP1": 100, "EYFP": 200, "ECFP": 300}
    readings = [f" {values[name] + i}" for name in order for i in range(2)]
    lines = [
        ",".join(["Content", " Colony", "Well Col", "Well Row", "Content", *cells]),
        ",".join([""] * 5 + ["0.04", "0.2"] * 4),
        ",".join([" Pcat_Y81C76", "", "3", "B", "C6=25000", *readings]),
    ]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("style", ["long", "plain"])
def test_both_header_styles_and_any_order_of_channels(tmp_path: Path, style: str) -> None:
    for order in (("OD", "mRFP1", "EYFP", "ECFP"), ("EYFP", "ECFP", "mRFP1", "OD")):
        times, rows = read_file(write(tmp_path / "x.csv", style, order))
        assert times.tolist() == [0.04, 0.2]
        device, well, treatment, readings = rows[0]
        assert (device, well, treatment) == ("Pcat_Y81C76", "B3", "C6=25000")
        np.testing.assert_allclose(readings[:, 0], [0.1, 100, 200, 300])


def test_a_missing_channel_and_another_treatment_are_said(tmp_path: Path) -> None:
    with pytest.raises(ScreenError, match=r"x\.csv: channels are missing"):
        read_file(write(tmp_path / "x.csv", "plain", ("OD", "mRFP1", "EYFP")))
    assert doses(" C12=5; C6=0.5") == [0.5, 5.0]
    with pytest.raises(ScreenError, match="'Ara'"):
        doses("C6=1;Ara=5")


@pytest.mark.data
def test_the_merged_set_is_the_papers(data_folder: Path) -> None:
    series = merged(data_folder / "vihds")
    assert series.values.shape == (312, 4, 86)
    device = series.factor("device")
    counts = dict(zip(device.labels, np.bincount(device.index).tolist(), strict=True))
    assert sorted(counts.values()) == [48, 48, 48, 48, 48, 72]
    assert counts["R33S175_Y81C76"] == 72
    assert series.factor("LuxR").labels == ("Pcat", "R33", "RS100")
    assert series.values.min() == 0.0
    assert 0.92 < series.values.max() < 1.0
    assert (series.inputs[:, 0] * series.inputs[:, 1] == 0).all()
