"""Controls: what is shuffled, what stays, and that nothing else changes."""

from __future__ import annotations

import numpy as np

from models.pharmacology.simulate import simulate_screen
from models.screen import Candidates, Wells
from models.synergy.controls import controls
from models.synergy.inputs import Features, ScoredBlocks, Training


def bundle() -> Training:
    truth = simulate_screen(8, 5, n_doses=2, noise_sd=0.05, seed=0)
    first, second = np.triu_indices(8, k=1)
    at = Candidates.of(first, second, np.arange(len(first)) % 5)
    screen = truth.screen(truth.measure(at, 1, 0), truth.single_agents(1, 0), truth.controls(2, 0))
    rng = np.random.default_rng(0)
    blocks = ScoredBlocks(at, rng.normal(size=len(at)), rng.random(len(at)) + 0.1)
    compounds = screen.compounds
    named = type(compounds)(
        compounds.ids,
        compounds.fingerprints,
        compounds.has_structure,
        tuple((f"gene{k}",) for k in range(8)),
    )
    features = Features(named, screen.cell_lines, rng.normal(size=(8, 5, 2)))
    return Training(blocks, features, screen.wells)


def rows_of(wells: Wells | None) -> int:
    return -1 if wells is None else len(wells)


def test_without_a_flag_nothing_changes() -> None:
    whole = bundle()
    assert controls(whole, seed=0) is whole


def test_every_compound_and_line_takes_the_features_of_another() -> None:
    whole = bundle()
    mixed = controls(whole, shuffled_features=True, seed=3).features
    before = whole.features
    assert mixed.compounds.ids == before.compounds.ids
    assert mixed.cell_lines.ids == before.cell_lines.ids
    names = [targets[0] for targets in mixed.compounds.targets]
    other = np.array([int(name.removeprefix("gene")) for name in names])
    assert sorted(other) == list(range(8))
    assert np.all(other != np.arange(8))
    assert np.array_equal(mixed.compounds.fingerprints, before.compounds.fingerprints[other])
    assert np.array_equal(mixed.compounds.has_structure, before.compounds.has_structure[other])
    assert mixed.curves is not None
    assert before.curves is not None
    assert np.array_equal(mixed.curves, before.curves[other])
    moved = np.any(mixed.cell_lines.features != before.cell_lines.features, axis=1)
    assert moved.all()
    first, second = (np.sort(table.cell_lines.features, axis=0) for table in (mixed, before))
    assert np.array_equal(first, second)


def test_shuffled_features_leave_blocks_and_wells() -> None:
    whole = bundle()
    mixed = controls(whole, shuffled_features=True, seed=3)
    assert mixed.blocks is whole.blocks
    assert mixed.wells is whole.wells
    again = controls(whole, shuffled_features=True, seed=3).features
    assert np.array_equal(mixed.features.compounds.fingerprints, again.compounds.fingerprints)
    other = controls(whole, shuffled_features=True, seed=4).features
    assert mixed.features.compounds.targets != other.compounds.targets


def test_permuted_labels_keep_errors_with_scores_and_drop_the_wells_that_tell() -> None:
    whole = bundle()
    mixed = controls(whole, permuted_labels=True, seed=1)
    keys = whole.blocks.candidates.keys(8)
    assert np.array_equal(np.sort(mixed.blocks.candidates.keys(8)), np.sort(keys))
    before = sorted(zip(whole.blocks.score, whole.blocks.noise_sd, strict=True))
    assert sorted(zip(mixed.blocks.score, mixed.blocks.noise_sd, strict=True)) == before
    old = dict(zip(keys.tolist(), whole.blocks.score.tolist(), strict=True))
    new = dict(
        zip(mixed.blocks.candidates.keys(8).tolist(), mixed.blocks.score.tolist(), strict=True)
    )
    assert sum(old[key] == new[key] for key in old) <= 5
    assert mixed.wells is not None
    assert mixed.wells.n_compounds.max() == 1
    assert 0 < rows_of(mixed.wells) < rows_of(whole.wells)
    assert mixed.features is whole.features


def test_permuted_labels_do_not_depend_on_row_order() -> None:
    whole = bundle()
    turned = Training(
        whole.blocks.select(np.arange(len(whole.blocks))[::-1]), whole.features, whole.wells
    )
    one = controls(whole, permuted_labels=True, seed=1).blocks
    other = controls(turned, permuted_labels=True, seed=1).blocks
    assert np.array_equal(one.score, other.score)
    assert np.array_equal(one.candidates.compounds, other.candidates.compounds)
