"""A measured screen cut into folds: what every model of a comparison is fitted to and asked.

Everything that is learned is learned from the training blocks of a fold alone: curves and the
noise of wells are fitted again without the wells of any held-out block, and the wells that a model
sees are those of the training blocks. Single agents are always known, of held-out compounds and
cell lines, too: a lab measures them first. What is asked is the score that the held-out blocks
have when the whole screen is looked at, the same for every model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.evaluation.splits import Fold, make_folds
from models.objectives.scores import Blocks, measure_blocks
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.score_rules import SCORES
from models.rounds import features_of
from models.screen import IntArray, ScreenError, Wells
from models.synergy.controls import controls
from models.synergy.inputs import ScoredBlocks, Training

VIABILITY = "viability"
TRAINING_SCORE = "bliss_mean"
"""The score that models learn where viability is asked for."""


@dataclass(frozen=True)
class Study:
    """What all models of one comparison share.

    ``score``: a key of ``SCORES``, or ``viability`` of the wells at their doses. ``train_limit``:
    at most this many training blocks a fold, drawn at random, the same for all models. ``draws``
    of the posterior that a forecast is made of. The two controls break the data on purpose.
    """

    split: str
    folds: int = 5
    seed: int = 0
    score: str = "bliss_mean"
    train_limit: int | None = None
    draws: int = 256
    shuffled_features: bool = False
    permuted_labels: bool = False

    def __post_init__(self) -> None:
        if self.score not in (*SCORES, VIABILITY):
            known = ", ".join((*SCORES, VIABILITY))
            raise ScreenError(f"unknown score {self.score!r}; known are {known}")
        if self.train_limit is not None and self.train_limit < 1:
            raise ScreenError(f"a training set of {self.train_limit} blocks cannot be learned from")
        if self.draws < 1:
            raise ScreenError(f"a forecast needs draws, not {self.draws}")

    @property
    def block_score(self) -> str:
        """The score of the training blocks."""
        return TRAINING_SCORE if self.score == VIABILITY else self.score


@dataclass(frozen=True)
class FoldData:
    """One fold. ``training``: all that a model sees. ``test``: the held-out blocks with their
    scores and standard errors. ``blocks``, ``curves``: behind the training scores.
    ``test_wells``: those of the held-out blocks."""

    fold: Fold
    training: Training
    test: ScoredBlocks
    blocks: Blocks
    curves: CurveTable
    test_wells: Wells


@dataclass(frozen=True)
class StudyData:
    """A screen with all its blocks scored. ``rows``: position of each in ``folder.blocks``."""

    study: Study
    folder: ScreenFolder
    fingerprints: NDArray[np.uint8] | None
    blocks: Blocks
    rows: IntArray

    @classmethod
    def of(
        cls, folder: ScreenFolder, study: Study, fingerprints: NDArray[np.uint8] | None = None
    ) -> StudyData:
        """Score every block of the screen once; :class:`ScreenError` if there is none."""
        blocks = measure_blocks(folder.screen(None, fingerprints), study.block_score)
        if not len(blocks):
            raise ScreenError("the screen has no block with both single agents measured")
        n = len(folder.compound_names)
        keys = folder.blocks.keys(n)
        order = np.argsort(keys, kind="stable")
        rows = order[np.searchsorted(keys, blocks.candidates.keys(n), sorter=order)]
        return cls(study, folder, fingerprints, blocks, rows)

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The folds, the same for every model."""
        study = self.study
        return make_folds(self.blocks.candidates, study.split, study.folds, study.seed)

    @cached_property
    def digest(self) -> str:
        """Of everything that was measured and every input of the models."""
        folder, bits = self.folder, self.fingerprints
        digest = hashlib.sha256()
        texts = (folder.compound_names, folder.targets, folder.cell_line_names, folder.gene_names)
        digest.update(repr(texts).encode())
        for wells in (folder.singles, folder.combinations):
            for column in (wells.cell_line, wells.compounds, wells.doses_um, wells.viability):
                digest.update(np.ascontiguousarray(column).tobytes())
        for table in (folder.features, folder.has_features, bits):
            digest.update(b"none" if table is None else np.ascontiguousarray(table).tobytes())
        return digest.hexdigest()

    def fold(self, number: int) -> FoldData:
        """The fold of this number, with its training data made from training wells alone."""
        fold, study = self.folds[number], self.study
        train = fold.train
        if study.train_limit is not None and study.train_limit < len(train):
            order = np.random.default_rng([study.seed, number, len(train)]).permutation(len(train))
            train = np.sort(train[order[: study.train_limit]])
        screen = self.folder.screen(self.rows[train], self.fingerprints)
        curves = fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))
        blocks = measure_blocks(screen, study.block_score, curves)
        training = Training.of(
            blocks, features_of(screen, curves), screen.wells, study.block_score
        ).sorted()
        whole = self.blocks
        test = ScoredBlocks(whole.candidates, whole.score, whole.noise_sd).select(fold.test)
        test_wells = self.folder.wells_of(self.rows[fold.test])
        training = controls(
            training,
            shuffled_features=study.shuffled_features,
            permuted_labels=study.permuted_labels,
            seed=study.seed,
        )
        return FoldData(fold, training, test, blocks, curves, test_wells)


def load_study(path: Path | str, study: Study) -> StudyData:
    """A folder in the O'Neil layout with the fingerprints of its structures.

    Raises :class:`ScreenError` naming the file, or the compound whose structure cannot be read.
    """
    folder = load_oneil_layout(path)
    return StudyData.of(folder, study, fingerprints_of(folder))


def fingerprints_of(folder: ScreenFolder) -> NDArray[np.uint8]:
    """``(n_compounds, bits)`` Morgan bits of the parents, zeros where no structure is given.

    Needs RDKit, which only this function imports.
    """
    from models.chemistry.fingerprints import BITS, fingerprint
    from models.chemistry.structures import StructureError, standardise

    table = np.zeros((len(folder.smiles), BITS), dtype=np.uint8)
    for row, smiles in enumerate(folder.smiles):
        if not smiles:
            continue
        try:
            table[row] = fingerprint(standardise(smiles).parent_smiles)
        except StructureError as error:
            raise ScreenError(f"compounds.csv, {folder.compound_names[row]}: {error}") from error
    return table
