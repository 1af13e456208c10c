"""Reading the O'Neil folder layout, and sanity of the pharmacology on the real screen."""

import gzip
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.objectives.scores import measure_blocks
from models.pharmacology.dose_response import fit_curves
from models.screen import ScreenError

ROOT = Path(__file__).parents[3]
DATA = ROOT / os.environ.get("NEXTROUND_DATA", "../shared/data") / "oneil"

COMPOUNDS = 'drug,smiles,inchikey,targets\nALPHA,CCO,X,"EGFR;ERBB2"\nBETA,,Y,\n'
SINGLES = "cell_line,drug,conc_uM,replicate,viability\nL2,Alpha,0.5,0,0.9\nL1,beta,2,0,0.7\n"
PAIRS = (
    "cell_line,drug_row,drug_col,conc_row_uM,conc_col_uM,viability\n"
    "L2,Beta,Alpha,2.0,0.5,0.6\nL2,Alpha,Beta,1.0,4.0,0.5\nL1,Alpha,Beta,0.5,2.0,0.8\n"
)
EXPRESSION = "gene,L1\nTP53,0.5\nMYC,-1.5\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "compounds.csv").write_text(COMPOUNDS)
    for name, text in (
        ("single_agents", SINGLES),
        ("combinations", PAIRS),
        ("expression", EXPRESSION),
    ):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_a_small_folder(folder: Path) -> None:
    screen = load_oneil_layout(folder)
    assert screen.compound_names == ("ALPHA", "BETA")
    assert screen.targets == (("EGFR", "ERBB2"), ())
    assert screen.cell_line_names == ("L1", "L2")
    assert screen.has_features.tolist() == [True, False]
    assert screen.features.tolist() == [[0.5, -1.5], [0.0, 0.0]]
    assert screen.singles.compounds[:, 0].tolist() == [0, 1]
    assert screen.combinations.doses_um[:, :2].tolist() == [[0.5, 2.0], [1.0, 4.0], [0.5, 2.0]]
    assert screen.block.tolist() == [0, 0, 1]
    assert screen.blocks.cell_line.tolist() == [1, 0]


def test_part_of_the_blocks_as_a_screen(folder: Path) -> None:
    loaded = load_oneil_layout(folder)
    assert len(loaded.screen().wells) == 5
    part = loaded.screen(np.array([1]), np.ones((2, 8), np.uint8) * np.array([[1], [0]], np.uint8))
    assert part.wells.n_compounds.tolist() == [1, 1, 2]
    assert part.compounds.has_structure.tolist() == [True, False]


def test_without_expression_no_line_has_features(folder: Path) -> None:
    (folder / "expression.csv.gz").unlink()
    loaded = load_oneil_layout(folder)
    assert loaded.features.shape == (2, 0)
    assert not loaded.has_features.any()


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "combinations.csv.gz").unlink()
    with pytest.raises(ScreenError, match=r"combinations\.csv\.gz is missing"):
        load_oneil_layout(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell_line,drug,dose,viability\n", r"single_agents\.csv\.gz has no column conc_uM"),
        ("", "has no column cell_line"),
        (SINGLES.replace("0.9", "n/a"), "not a number"),
        (SINGLES.replace("beta", "gamma"), "names compounds .* lacks: gamma"),
        (SINGLES + "L1,beta,2\n", "rows of different lengths"),
    ],
)
def test_a_bad_file_says_what_is_wrong(folder: Path, text: str, message: str) -> None:
    (folder / "single_agents.csv.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ScreenError, match=message):
        load_oneil_layout(folder)


@pytest.fixture(scope="module")
def oneil() -> ScreenFolder:
    if not DATA.is_dir():
        pytest.skip("the O'Neil screen is absent: set NEXTROUND_DATA to the folder that holds it")
    torch.set_num_threads(1)
    return load_oneil_layout(DATA)


@pytest.mark.data
def test_the_real_screen_is_complete(oneil: ScreenFolder) -> None:
    assert (len(oneil.compound_names), len(oneil.cell_line_names)) == (38, 33)
    assert (len(oneil.singles), len(oneil.combinations)) == (66576, 304912)
    assert len(oneil.blocks) == 19057
    assert oneil.has_features.sum() == 30
    assert len(oneil.gene_names) == 2401


@pytest.mark.data
def test_curves_predict_the_combinations_of_the_real_screen(oneil: ScreenFolder) -> None:
    start = time.process_time()
    curves = fit_curves(oneil.singles, 38, 33)
    assert time.process_time() - start < 3.0
    wells = oneil.combinations
    single = curves.viability(
        wells.compounds[:, :2], wells.cell_line[:, None], wells.doses_um[:, :2]
    )
    stronger = np.corrcoef(single.min(axis=1), wells.viability)[0, 1]
    independent = np.corrcoef(single.prod(axis=1), wells.viability)[0, 1]
    assert stronger > 0.92
    assert independent > 0.93


@pytest.mark.data
def test_scores_of_the_real_screen(oneil: ScreenFolder) -> None:
    screen = oneil.screen()
    curves = fit_curves(screen.wells, 38, 33)
    bliss = measure_blocks(screen, "bliss_mean", curves)
    hsa = measure_blocks(screen, "hsa_mean", curves)
    assert len(bliss) == 19057
    assert bliss.excluded == ()
    assert abs(np.median(bliss.score)) < 3.0
    assert np.mean(hsa.score - bliss.score) > 1.0
    assert np.corrcoef(bliss.score, hsa.score)[0, 1] > 0.85
    assert np.quantile(bliss.score, 0.99) > 12.0
    assert 1.5 < np.median(bliss.noise_sd) < 5.0
    assert 0.4 < bliss.noise.well_factor < 0.9
    assert bliss.noise.shared_sd > 0.02
