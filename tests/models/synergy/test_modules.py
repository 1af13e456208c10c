from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.screen import Candidates, ScreenError
from models.synergy.controls import controls
from models.synergy.inputs import InputTables, module_coordinates
from models.synergy.modules import Module, of_names
from models.synergy.registry import find_model
from models.synergy.training import Schedule
from tests.models.synergy.module_screens import (
    N,
    bare_features,
    every_block,
    module,
    noise_module,
    training,
)

NAN = np.nan
SHORT = Schedule(6, 12)


def tables(*modules: Module) -> InputTables:
    return InputTables.of(replace(bare_features(), modules=modules), torch.device("cpu"))


class TestModule:
    def test_what_is_known(self) -> None:
        pairs = np.full((3, 3, 1), NAN)
        pairs[0, 1] = pairs[1, 0] = 2.0
        pairs[2, 2] = 9.0
        found = Module("m", np.array([[1.0, NAN], [NAN, NAN], [2.0, 3.0]]), pairs, 0.5)
        assert found.known_compounds.tolist() == [True, False, True]
        assert found.known_pairs.tolist() == [
            [False, True, False],
            [True, False, False],
            [False, False, False],
        ]
        assert not found.says_nothing
        same = np.where(np.isfinite(found.compounds), 1.0, NAN)
        assert replace(found, compounds=same).says_nothing
        other = found.select(np.array([2, 0, 1]))
        assert other.known_compounds.tolist() == [True, True, False]
        assert other.pairs[1, 2, 0] == 2.0

    def test_standardised_over_what_is_known(self) -> None:
        pairs = np.full((4, 4, 2), NAN)
        for a, b, value in ((0, 1, 1.0), (0, 2, 3.0), (1, 2, 5.0)):
            pairs[a, b] = pairs[b, a] = (value, 7.0)
        found = Module("m", np.array([[1.0], [3.0], [NAN], [5.0]]), pairs, 1.0)
        step = 2 / np.std([1, 3, 5])
        assert np.allclose(found.standardised_compounds()[:, 0], [-step, 0, 0, step])
        table = found.standardised_pairs()
        assert np.array_equal(table, table.swapaxes(0, 1))
        assert np.allclose(table[[0, 0, 1], [1, 2, 2], 0], [-step, 0, step])
        assert not table[..., 1].any(), "a constant says nothing"
        assert not table[3].any()

    def test_one_outlier_is_held(self) -> None:
        values = np.zeros((40, 1))
        values[0], values[1:20] = 1e6, 1e-3
        found = Module("m", values, np.full((40, 40, 0), NAN), 1.0).standardised_compounds()
        assert np.abs(found).max() == 3.0

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"skill": 1.5}, "skill 1.5"),
            ({"skill": NAN}, "skill nan"),
            ({"skill": -0.1}, "0 to 1"),
            ({"compounds": np.full((N, 1), np.inf)}, "infinite"),
            ({"compounds": np.zeros((N - 1, 1))}, "shape"),
            ({"pairs": np.arange(N * N * 1.0).reshape(N, N, 1)}, "both orders"),
        ],
    )
    def test_bad_modules_are_refused(self, change: dict[str, object], says: str) -> None:
        with pytest.raises(ScreenError, match=says):
            replace(module(0), **change)  # type: ignore[arg-type]

    def test_features_refuse_what_does_not_fit(self) -> None:
        with pytest.raises(ScreenError, match="same name"):
            replace(bare_features(), modules=(module(0), module(1)))
        with pytest.raises(ScreenError, match="of 3 compounds"):
            replace(bare_features(), modules=(module(0).select(np.arange(3)),))


class TestOfNames:
    def test_perturbations_become_compounds(self) -> None:
        rows = [2, None, 0, 2]
        table = np.array([[1.0, NAN], [9.0, 9.0], [2.0, 3.0], [3.0, 5.0]])
        pairs = [(0, 2, [4.0]), (2, 3, [6.0]), (0, 1, [99.0]), (0, 3, [99.0])]
        found = of_names("m", 0.25, rows, table, pairs, 1, 4, "fit")
        expected = [[2.0, 3.0], [NAN, NAN], [2.0, 5.0], [NAN, NAN]]
        assert np.array_equal(found.compounds, expected, equal_nan=True)
        known = np.argwhere(found.known_pairs).tolist()
        assert known == [[0, 2], [2, 0]], "no pair of a compound with itself or a stranger"
        assert found.pairs[0, 2, 0] == 5.0, "the mean of both names of the same compound"
        assert (found.skill, found.source) == (0.25, "fit")

    def test_unknown_numbers_stay_unknown(self) -> None:
        found = of_names("m", 1.0, [0, 1], np.zeros((2, 0)), [(0, 1, [None, 2.0])], 2, 2)
        assert np.isnan(found.pairs[0, 1, 0])
        assert found.pairs[1, 0, 1] == 2.0

    @pytest.mark.parametrize("pair", [(0, 5, [1.0]), (-1, 0, [1.0]), (0, 1, [1.0, 2.0])])
    def test_pairs_that_make_no_sense(self, pair: tuple[int, int, list[float]]) -> None:
        with pytest.raises(ScreenError, match="pair of"):
            of_names("m", 1.0, [0, 1], np.zeros((2, 1)), [pair], 1, 2)


class TestInputs:
    def test_columns_as_long_as_the_skill(self) -> None:
        bare, wide = tables(), tables(module(0, skill=0.5))
        width = bare.compounds.shape[1]
        assert torch.equal(wide.compounds[:, :width], bare.compounds)
        more = wide.compounds[:, width:].double().numpy()
        assert more.shape == (N, 2)
        assert np.square(more[:-1]).sum(axis=1).mean() == pytest.approx(0.25, abs=1e-6)
        assert not more[-1].any(), "nothing is known of the last compound"

    def test_distances_are_those_of_the_standardised_numbers(self) -> None:
        one = module(0)
        z, x = module_coordinates(one)[:-1], one.standardised_compounds()[:-1]
        ratio = np.linalg.norm(z[0] - z[1:], axis=1) / np.linalg.norm(x[0] - x[1:], axis=1)
        assert np.allclose(ratio, ratio[0])

    def test_without_skill_there_is_no_column(self) -> None:
        assert torch.equal(tables(module(0, skill=0.0)).compounds, tables().compounds)

    def test_shuffled_features_shuffle_modules(self) -> None:
        given = training(0, 20, module(0))
        found = controls(given, shuffled_features=True, seed=1).features.modules[0]
        own = given.features.modules[0]
        assert found.known_compounds.sum() == N - 1
        moved = found.compounds[found.known_compounds, 0]
        assert set(moved) == set(own.compounds[own.known_compounds, 0])
        same = (found.compounds == own.compounds).any(axis=1)
        assert not same.any()


@pytest.mark.parametrize("name", ["bnn_gaussian", "concat_ensemble", "bilinear_gaussian"])
class TestNetworks:
    def draws(self, name: str, *modules: Module, at: Candidates | None = None) -> torch.Tensor:
        posterior = find_model(name).fit(training(0, 50, *modules), seed=4, schedule=SHORT)
        return posterior.draws(every_block() if at is None else at, 4, 9)

    def test_skill_is_all_or_nothing_at_its_ends(self, name: str) -> None:
        bare = self.draws(name)
        assert torch.equal(bare, self.draws(name, module(0, skill=0.0)))
        assert not torch.equal(bare, self.draws(name, module(0)))

    def test_swapping_changes_no_bit(self, name: str) -> None:
        at = every_block()
        swapped = Candidates.of(at.compounds[:, 1], at.compounds[:, 0], at.cell_line)
        found = [self.draws(name, module(0), noise_module(0), at=each) for each in (at, swapped)]
        assert torch.equal(*found)

    def test_it_comes_back_with_its_modules(self, name: str) -> None:
        model = find_model(name)
        posterior = model.fit(training(0, 50, module(0)), seed=4, schedule=SHORT)
        back = model.load(*model.save(posterior))
        assert torch.equal(*(p.draws(every_block(), 4, 9) for p in (posterior, back)))


def test_modules_do_not_go_from_one_screen_to_another() -> None:
    model = find_model("concat_ensemble")
    bare, wide = (
        model.fit(training(0, 50, *known), seed=4, schedule=SHORT) for known in ((), (module(0),))
    )
    for start, data in ((wide, training(1, 50)), (bare, training(1, 50, module(1)))):
        with pytest.raises(ScreenError, match="from one screen to another"):
            model.fine_tune(start, data, seed=1, schedule=SHORT)  # type: ignore[attr-defined]
