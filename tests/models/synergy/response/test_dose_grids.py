import numpy as np

from models.screen import Candidates
from models.synergy.response.dose_grids import DoseGrids
from tests.models.synergy.response.small import N_COMPOUNDS, UNSEEN, training, truth


def grids() -> DoseGrids:
    wells = training().wells
    assert wells is not None
    return DoseGrids.of(wells, N_COMPOUNDS)


def one(first: int, second: int) -> Candidates:
    return Candidates(np.array([[first, second]]), np.array([3]))


def test_a_measured_pair_has_its_dose_pairs_in_any_cell_line() -> None:
    owner, doses = grids().rows(one(0, 2))
    expected = truth().block_doses(one(0, 2))[0]
    assert owner.tolist() == [0] * 9
    assert np.allclose(np.sort(doses, axis=0), np.sort(expected, axis=0))


def test_a_new_pair_has_the_compounds_own_doses_in_combinations() -> None:
    learned = grids()
    kept = DoseGrids(
        learned.pair_keys[:0],
        np.zeros(1, np.int64),
        learned.pair_doses[:0],
        learned.own_starts,
        learned.own_doses,
    )
    owner, doses = kept.rows(one(0, 2))
    expected = truth().doses_um
    assert len(owner) == 9
    assert np.allclose(np.unique(doses[:, 0]), expected[0])
    assert np.allclose(np.unique(doses[:, 1]), expected[2])


def test_an_unseen_compound_has_the_usual_number_of_doses() -> None:
    owner, doses = grids().rows(one(1, UNSEEN))
    assert len(owner) == 9
    assert np.all(doses > 0)


def test_rows_belong_to_their_candidates() -> None:
    several = Candidates(np.array([[0, 2], [1, UNSEEN], [0, 2]]), np.array([0, 1, 2]))
    owner, doses = grids().rows(several)
    assert np.array_equal(np.unique(owner), [0, 1, 2])
    assert np.array_equal(doses[owner == 0], doses[owner == 2])
    assert grids().rows(Candidates.empty())[1].shape == (0, 2)
