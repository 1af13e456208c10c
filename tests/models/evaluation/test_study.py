"""A fold knows nothing of what is held out; the same data give the same study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.oneil import ScreenFolder
from models.evaluation.splits import SPLITS
from models.evaluation.study import Study, StudyData, fingerprints_of, load_study
from models.screen import ScreenError, Wells
from tests.models.evaluation.small_folder import COMPOUNDS, LINES, read_folder, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ScreenFolder:
    return read_folder(tmp_path_factory.mktemp("screen"))


def keys(wells: Wells) -> set[tuple[int, ...]]:
    pair = wells.select(wells.n_compounds == 2)
    return set(zip(pair.cell_line, *pair.compounds[:, :2].T, strict=True))


def with_viability(folder: ScreenFolder, viability: np.ndarray) -> ScreenFolder:
    return replace(folder, combinations=replace(folder.combinations, viability=viability))


@pytest.mark.parametrize("split", list(SPLITS))
def test_training_is_blind_to_what_is_held_out(folder: ScreenFolder, split: str) -> None:
    """Nonsense in the wells of held-out blocks changes no bit of the training data."""
    study = Study(split, folds=3, seed=1)
    data = StudyData.of(folder, study)
    fold = data.fold(0)
    assert not keys(fold.training.wells) & keys(fold.test_wells)
    held = np.isin(folder.block, data.rows[np.concatenate([fold.fold.test, fold.fold.dropped])])
    broken = with_viability(folder, np.where(held, 1.7, folder.combinations.viability))
    other = StudyData.of(broken, study).fold(0)
    for name in ("score", "noise_sd"):
        values = (getattr(f.training.blocks, name) for f in (fold, other))
        assert np.array_equal(*values)
    assert np.array_equal(fold.training.features.curves, other.training.features.curves)
    assert np.array_equal(fold.training.wells.viability, other.training.wells.viability)
    assert not np.array_equal(fold.test.score, other.test.score)


def test_single_agents_of_held_out_compounds_stay_known(folder: ScreenFolder) -> None:
    wells = StudyData.of(folder, Study("compound", folds=4)).fold(1).training.wells
    assert wells is not None
    assert len(set(wells.compounds[wells.n_compounds == 1, 0].tolist())) == COMPOUNDS


def test_a_limit_takes_the_same_blocks_for_everybody(folder: ScreenFolder) -> None:
    few, more = (
        StudyData.of(folder, Study("pair", folds=3, train_limit=n)).fold(0) for n in (20, 40)
    )
    assert len(few.training.blocks) == 20
    n = COMPOUNDS
    small, large = (set(f.training.blocks.candidates.keys(n).tolist()) for f in (few, more))
    assert small < large
    assert np.array_equal(few.test.score, more.test.score)


def test_controls_break_the_training_data_and_nothing_else(folder: ScreenFolder) -> None:
    """Features change hands, identities stay; labels change places; the question stays."""
    bits = np.eye(COMPOUNDS, 16, dtype=np.uint8)
    base = Study("pair", folds=3)
    plain, shuffled, permuted = (
        StudyData.of(folder, study, bits).fold(0)
        for study in (
            base,
            replace(base, shuffled_features=True),
            replace(base, permuted_labels=True),
        )
    )
    prints = [f.training.features.compounds.fingerprints for f in (plain, shuffled, permuted)]
    assert not np.any((prints[0] == prints[1]).all(axis=1))
    assert np.array_equal(prints[0], prints[2])
    assert np.array_equal(plain.training.blocks.score, shuffled.training.blocks.score)
    scores = [np.sort(f.training.blocks.score) for f in (plain, permuted)]
    assert np.array_equal(*scores)
    assert not np.array_equal(plain.training.blocks.score, permuted.training.blocks.score)
    for other in (shuffled, permuted):
        assert np.array_equal(other.test.score, plain.test.score)


def test_the_digest_is_that_of_the_data(folder: ScreenFolder) -> None:
    study = Study("pair")
    one = StudyData.of(folder, study)
    assert one.digest == StudyData.of(folder, replace(study, seed=9)).digest
    viability = folder.combinations.viability.copy()
    viability[3] += 1e-4
    assert one.digest != StudyData.of(with_viability(folder, viability), study).digest
    bits = np.ones((COMPOUNDS, 8), np.uint8)
    assert one.digest != StudyData.of(folder, study, bits).digest


def test_a_folder_is_read_with_its_structures(tmp_path: Path) -> None:
    data = load_study(write_folder(tmp_path), Study("random"))
    assert len(data.blocks) == COMPOUNDS * (COMPOUNDS - 1) // 2 * LINES - 1
    assert data.fingerprints is not None
    assert np.all(data.fingerprints.sum(axis=1) > 3)
    assert data.fold(0).training.features.compounds.has_structure.all()
    assert data.fold(0).training.features.compounds.targets[2] == ("T2",)
    unreadable = replace(data.folder, smiles=("C(", *data.folder.smiles[1:]))
    with pytest.raises(ScreenError, match=r"compounds\.csv, SIM-001"):
        fingerprints_of(unreadable)
    without = replace(data.folder, smiles=("",) * COMPOUNDS)
    assert not fingerprints_of(without).any()


def test_studies_that_make_no_sense_are_refused() -> None:
    for wrong in ({"score": "loewe"}, {"train_limit": 0}, {"draws": 0}):
        with pytest.raises(ScreenError):
            Study("pair", **wrong)
    assert Study("pair", score="viability").block_score == "bliss_mean"
    assert Study("pair", score="hsa_max").block_score == "hsa_max"
