"""The lab that answers from a published screen: only what was measured, exactly as it was."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from service.demo.labs import Block, DemoError
from service.demo.oneil import OneilLab


@pytest.fixture
def lab(screen_folder: Path) -> OneilLab:
    return OneilLab(screen_folder)


def test_only_pairs_that_exist_are_offered(lab: OneilLab) -> None:
    assert lab.pairs == [("Alpha", "Beta"), ("Alpha", "Gamma")]
    assert lab.missing == [Block("Alpha", "Gamma", "HT29")]
    assert set(lab.true_scores) == {
        Block("Alpha", "Beta", "A375"),
        Block("Alpha", "Beta", "HT29"),
        Block("Alpha", "Gamma", "A375"),
    }
    assert "3 compounds, 2 pairs x 2 cell lines, 3 blocks measured" in lab.title


def test_compounds_bring_structures_and_the_doses_of_their_blocks(lab: OneilLab) -> None:
    assert [(c.name, c.smiles) for c in lab.compounds] == [
        ("Alpha", "CCO"),
        ("Beta", "CCN"),
        ("Gamma", None),
    ]
    assert all(compound.doses_um == [0.1, 1.0] for compound in lab.compounds)


def test_features_keep_every_gene_and_lines_without_them_say_so(lab: OneilLab) -> None:
    features = {line.name: line.features for line in lab.cell_lines}
    assert features == {"A375": {"TP53": 0.5, "EGFR": -1.25, "TP53 (2)": 2.0}, "HT29": None}


def test_single_agents_are_handed_in_as_the_file_came(lab: OneilLab) -> None:
    table = lab.single_agents()
    assert table.csv.startswith("cell_line,drug,conc_uM,replicate,viability\n")
    assert table.n_wells == table.csv.count("\n") - 1 == 2 * 3 * 4 * 2
    assert table.says == {"quantity": "viability", "unit": "fraction", "repeats": "replicates"}


def test_a_block_is_revealed_with_its_own_wells_and_no_others(lab: OneilLab) -> None:
    table = lab.measure([Block("Alpha", "Beta", "HT29")])
    rows = list(csv.DictReader(io.StringIO(table.csv)))
    assert table.n_wells == len(rows) == 4
    assert {(r["cell_line"], r["compound_1"], r["compound_2"]) for r in rows} == {
        ("HT29", "Alpha", "Beta")
    }
    by_dose = {(r["dose_1_um"], r["dose_2_um"]): float(r["viability_fraction"]) for r in rows}
    assert by_dose[("0.1", "1")] == pytest.approx(0.8 / 1.1 / 2, abs=1e-4)


def test_true_scores_are_excess_over_bliss_in_percentage_points(lab: OneilLab) -> None:
    scores = lab.true_scores
    weakest = Block("Alpha", "Beta", "A375")
    assert scores[weakest] == pytest.approx(0.0, abs=3.0)
    expected = 100 * 0.2 * sum(1 / (1 + a) / (1 + b) for a in (0.1, 1) for b in (0.1, 1)) / 4
    assert scores[Block("Alpha", "Beta", "HT29")] == pytest.approx(expected, abs=3.0)


def test_a_folder_that_is_no_screen_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"cannot be played back: compounds\.csv is missing"):
        OneilLab(tmp_path)


@pytest.mark.data
def test_the_real_screen(data_folder: Path) -> None:
    lab = OneilLab(data_folder / "oneil")
    assert lab.pairs is not None
    assert (len(lab.compounds), len(lab.pairs), len(lab.cell_lines)) == (38, 583, 33)
    assert (len(lab.true_scores), len(lab.missing)) == (19_057, 182)
    described = [len(line.features) for line in lab.cell_lines if line.features]
    assert described == [2401] * 30
    hits = sum(score > lab.hit_threshold for score in lab.true_scores.values())
    assert 0.01 < hits / len(lab.true_scores) < 0.03
