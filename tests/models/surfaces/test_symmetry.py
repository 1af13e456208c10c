"""Groups, averages and checks: what passes, what is caught, and what is no symmetry at all."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from models.pharmacology.simulate import simulate_screen
from models.screen import Candidates, ScreenError
from models.surfaces.symmetry import (
    Batch,
    Element,
    Group,
    SymmetryError,
    check_action,
    check_equivariance,
    check_invariance,
    column_permutations,
    drug_permutations,
    equivariant,
    grid_permutations,
    replicate_permutations,
)

SWAP = drug_permutations(2, columns={"drugs": 1, "margins": 1}, grids={"surface": (1, 2)})


def batch(n: int = 5, k: int = 2, doses: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return {
        "drugs": torch.arange(n * k).reshape(n, k),
        "margins": torch.rand(n, k, doses, generator=generator),
        "surface": torch.rand(n, *(doses,) * k, generator=generator),
        "line": torch.arange(n),
    }


def network(features: int, seed: int = 1) -> Tensor:
    return torch.randn(features, generator=torch.Generator().manual_seed(seed))


def lopsided(given: Batch) -> Tensor:
    flat = torch.cat([given["margins"].flatten(1), given["surface"].flatten(1)], dim=1)
    return torch.tanh(flat @ network(flat.shape[1]))


def bliss(given: Batch) -> Tensor:
    return given["margins"][:, 0, :, None] * given["margins"][:, 1, None, :]


def test_a_swap_moves_the_drugs_their_margins_and_the_axes_together() -> None:
    given = batch()
    moved = SWAP.elements[1].act(given)
    assert torch.equal(moved["drugs"], given["drugs"].flip(1))
    assert torch.equal(moved["margins"][:, 0], given["margins"][:, 1])
    assert torch.equal(moved["surface"], given["surface"].mT)
    assert torch.equal(moved["line"], given["line"])


@pytest.mark.parametrize("k", [2, 3])
def test_every_element_is_undone_and_two_make_a_third(k: int) -> None:
    group = drug_permutations(
        k, columns={"drugs": 1}, grids={"surface": tuple(range(1, k + 1))}, exchanged=()
    )
    given = {name: batch(k=k)[name] for name in ("drugs", "surface")}
    seen = [(moved["drugs"], moved["surface"]) for moved in group.orbit(given)]
    for element in group:
        back = element.undo(element.act(given))
        assert all(torch.equal(back[name], given[name]) for name in given)
    for one, two in itertools.product(group, group):
        both = two.act(one.act(given))
        found = [torch.equal(both["drugs"], d) and torch.equal(both["surface"], s) for d, s in seen]
        assert sum(found) == 1


def test_tensors_of_one_drug_each_change_names() -> None:
    group = drug_permutations(3, exchanged=(("a", "b", "c"),))
    given = {name: torch.full((2,), float(i)) for i, name in enumerate("abc")}
    orders = {tuple(int(moved[n][0]) for n in "abc") for moved in group.orbit(given)}
    assert orders == set(itertools.permutations(range(3)))


def test_an_invariant_function_passes_and_a_lopsided_one_is_named_with_its_breach() -> None:
    assert check_invariance(lambda given: bliss(given).sum((1, 2)), batch(), SWAP) <= 1e-6
    with pytest.raises(SymmetryError, match="the critic is not invariant under 'swap'") as caught:
        check_invariance(lopsided, batch(), SWAP, what="the critic")
    whole, turned = (lopsided(given) for given in SWAP.orbit(batch()))
    assert caught.value.breach == pytest.approx(float((turned - whole).abs().max()), rel=1e-5)
    assert caught.value.element == "swap"


def test_the_size_of_a_breach_is_relative_to_large_values_and_absolute_for_small_ones() -> None:
    def off(size: float, by: float):
        return lambda given: size + by * given["margins"][:, 0, 0]

    spread = float((batch()["margins"][:, 0, 0] - batch()["margins"][:, 1, 0]).abs().max())
    found = check_invariance(off(1e4, 1.0), batch(), SWAP, tolerance=1e-3)
    assert found == pytest.approx(spread / 1e4, rel=0.02)
    assert check_invariance(off(0.0, 1e-8), batch(), SWAP) == pytest.approx(1e-8 * spread, rel=1e-3)
    with pytest.raises(SymmetryError):
        check_invariance(off(0.0, 1e-3), batch(), SWAP)


def test_an_equivariant_map_turns_with_its_input() -> None:
    turns = grid_permutations(2)
    assert check_equivariance(bliss, batch(), SWAP, turns) == 0.0
    with pytest.raises(SymmetryError, match="not equivariant under 'swap'"):
        check_equivariance(
            lambda given: given["margins"][:, 0, :, None].expand(-1, 4, 4), batch(), SWAP, turns
        )


def test_averages_are_symmetric_to_the_last_bit_and_leave_symmetric_functions_alone() -> None:
    turns = grid_permutations(2)
    assert check_invariance(SWAP.average(lopsided), batch(), SWAP, tolerance=0.0) == 0.0
    weights = network(16).reshape(4, 4)
    turned = equivariant(lambda given: given["surface"] @ weights, SWAP, turns)
    assert check_equivariance(turned, batch(), SWAP, turns, tolerance=0.0) == 0.0
    assert torch.equal(equivariant(bliss, SWAP, turns)(batch()), bliss(batch()))


def test_three_drugs_and_replicates() -> None:
    group = drug_permutations(3, columns={"drugs": 1, "margins": 1}, grids={"surface": (1, 2, 3)})
    given = batch(k=3)
    assert len(group) == 6
    check_invariance(lambda g: g["surface"].sum((1, 2, 3)) + g["margins"].sum((1, 2)), given, group)
    product = torch.einsum("ni,nj,nk->nijk", *given["margins"].unbind(1))

    def three(g: Batch) -> Tensor:
        return torch.einsum("ni,nj,nk->nijk", *g["margins"].unbind(1))

    assert torch.equal(three(given), product)
    check_equivariance(three, given, group, grid_permutations(3, (1, 2, 3)))
    check_equivariance(lambda g: g["margins"].sum(2), given, group, column_permutations(3))
    with pytest.raises(SymmetryError, match="order"):
        check_invariance(lambda g: g["margins"][:, 0].sum(1), given, group)
    wells = {"wells": torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0))}
    replicates = replicate_permutations(3, {"wells": 1})
    check_invariance(lambda g: g["wells"].mean(1), wells, replicates)
    with pytest.raises(SymmetryError):
        check_invariance(lambda g: g["wells"][:, 0], wells, replicates)


def test_compounds_and_replicates_make_a_product() -> None:
    given = {**batch(), "wells": network(5 * 48).reshape(5, 3, 4, 4)}
    both = drug_permutations(
        2, columns={"margins": 1}, grids={"wells": (2, 3)}
    ) * replicate_permutations(3, {"wells": 1})
    assert len(both) == 12
    check_invariance(lambda g: g["wells"].sum((1, 2, 3)), given, both, tolerance=1e-5)


def test_a_check_that_would_show_nothing_is_refused() -> None:
    same = {name: value[:1] for name, value in batch().items()}
    same = {
        "drugs": torch.zeros(1, 2),
        "margins": same["margins"][:, :1].expand(-1, 2, -1),
        "surface": torch.ones(1, 4, 4),
    }
    with pytest.raises(ScreenError, match="show nothing"):
        check_invariance(lopsided, same, SWAP)
    with pytest.raises(ScreenError, match="not finite"):
        check_invariance(lambda given: given["margins"] * float("nan"), batch(), SWAP)
    sizes = itertools.count(5)
    with pytest.raises(ScreenError, match="gives 6 values, then 5"):
        check_invariance(lambda given: torch.zeros(next(sizes)), batch(), SWAP)


def test_groups_that_cannot_be_are_refused_in_words() -> None:
    with pytest.raises(ScreenError, match="drugs held fixed"):
        drug_permutations(2, grids={"surface": (1, 2)})
    with pytest.raises(ScreenError, match="1 axes of doses for 2 drugs"):
        drug_permutations(2, columns={"drugs": 1}, grids={"surface": (1,)})
    with pytest.raises(ScreenError, match="the batch has no margins"):
        SWAP.orbit({"drugs": torch.zeros(1, 2), "surface": torch.zeros(1, 2, 2)})
    with pytest.raises(ScreenError, match="3 entries along axis 1"):
        SWAP.orbit({**batch(), "drugs": torch.zeros(5, 3)})
    with pytest.raises(ScreenError, match="orders"):
        replicate_permutations(9, {"wells": 1})
    with pytest.raises(ScreenError, match="not the same group"):
        check_equivariance(bliss, batch(), SWAP, grid_permutations(3, (0, 1, 2)))


# ---------------------------------------------------------------- what is no symmetry


def _truth() -> tuple[Batch, object]:
    """Blocks of a simulated screen, and how far a surface is from what would be measured."""
    screen = simulate_screen(6, 3, 4, 0.0, seed=0)
    drugs = torch.tensor([[0, 1], [2, 3], [4, 5], [1, 4]])
    line = torch.tensor([0, 1, 2, 0])
    doses = torch.from_numpy(screen.doses_um[drugs.numpy()])

    def surface(drugs: Tensor, doses: Tensor, line: Tensor) -> Tensor:
        m = doses.shape[2]
        rows, columns = doses[:, 0, :, None].expand(-1, m, m), doses[:, 1, None, :].expand(-1, m, m)
        order = drugs.argsort(dim=1)
        first = (order[:, 0] == 0)[:, None, None]
        grid = torch.stack(
            [torch.where(first, rows, columns), torch.where(first, columns, rows)], -1
        )
        pairs = Candidates.of(drugs[:, 0].numpy(), drugs[:, 1].numpy(), line.numpy())
        return torch.from_numpy(screen.viability(pairs, grid.numpy()))

    def distance(given: Batch) -> Tensor:
        expected = surface(given["drugs"], given["doses"], given["line"])
        return (given["surface"] - expected).abs().amax((1, 2))

    given = {"drugs": drugs, "doses": doses, "line": line}
    return {**given, "surface": surface(drugs, doses, line)}, distance


def _acting(name: str, act) -> Group[Batch]:
    return Group(
        name,
        (Element("identity", lambda b: b, lambda b: b), Element(name, act, act)),
    )


def test_the_swap_keeps_true_data_true() -> None:
    given, distance = _truth()
    swap = drug_permutations(2, columns={"drugs": 1, "doses": 1}, grids={"surface": (1, 2)})
    assert check_action(swap, given, distance) <= 1e-6


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("reflected doses", lambda b: {**b, "surface": b["surface"].flip(1, 2)}),
        ("swapped cell lines", lambda b: {**b, "line": b["line"].roll(1)}),
        ("a transpose with drugs fixed", lambda b: {**b, "surface": b["surface"].mT}),
        ("drugs swapped without their doses", lambda b: {**b, "drugs": b["drugs"].flip(1)}),
    ],
)
def test_what_is_no_symmetry_of_an_experiment_is_caught(name: str, act) -> None:
    given, distance = _truth()
    with pytest.raises(SymmetryError, match=f"under '{name}'"):
        check_action(_acting(name, act), given, distance)
