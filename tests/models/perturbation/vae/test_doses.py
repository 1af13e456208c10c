"""Dose rows: Hill terms with exact ends, additivity, and an interaction that needs two."""

from __future__ import annotations

import pytest
import torch

from models.perturbation.vae.doses import DoseTerms, Interaction, interaction_shift, pairs_of
from models.screen import ScreenError


def _terms(p: int = 4) -> DoseTerms:
    terms = DoseTerms(torch.eye(p))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        terms.log_k.copy_(torch.randn(p, generator=generator))
        terms.log_slope.copy_(0.3 * torch.randn(p, generator=generator))
    return terms


def test_activity_is_exact_at_dose_0_and_1_whatever_the_curve() -> None:
    doses = torch.tensor([[0.0, 1, 0, 1], [1, 0, 1, 0]])
    assert torch.equal(_terms().activity(doses), doses)


def test_activity_is_the_hill_curve_relative_to_dose_1() -> None:
    terms = _terms(1)
    k, slope = torch.exp(terms.log_k), torch.exp(terms.log_slope)
    dose = torch.tensor([[0.01], [0.3], [2.0], [50.0]])
    hill = dose**slope / (dose**slope + k**slope)
    at_one = 1 / (1 + k**slope)
    assert torch.allclose(terms.activity(dose), hill / at_one, rtol=1e-5)


def test_gradients_are_finite_where_a_dose_is_zero() -> None:
    terms = _terms(2)
    terms.activity(torch.tensor([[0.0, 0.5]])).sum().backward()
    assert torch.isfinite(terms.log_k.grad).all()
    assert terms.log_k.grad[0] == 0
    assert terms.log_k.grad[1] != 0


def test_a_combination_shifts_by_exactly_the_sum() -> None:
    terms, effects = _terms(), torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    single = torch.eye(4)
    both = single[1:2] + single[2:3]
    shift = [terms.rows(terms.activity(dose)) @ effects for dose in (single, both)]
    assert torch.equal(shift[1][0], shift[0][1] + shift[0][2])


def test_the_interaction_is_exactly_zero_without_both_doses_and_symmetric() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = Interaction(4, 5, 3, generator).sample(generator)
    doses = torch.tensor([[0.7, 0, 0, 0], [0, 0, 0, 0], [0, 0.4, 0.2, 0], [0, 0.2, 0.4, 0]])
    pairs = torch.tensor([[0, 1], [1, 2], [2, 3]])
    shift = interaction_shift(doses, drawn, pairs)
    assert torch.equal(shift[:2], torch.zeros(2, 5))
    assert shift[2].abs().min() > 0
    # The product of the two activities commutes, and so does that of the factors.
    assert torch.equal(shift[2], shift[3])
    turned = interaction_shift(doses, drawn, pairs.flip(1))
    assert torch.equal(shift, turned)


def test_the_interaction_is_that_of_its_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    factor, output = Interaction(3, 4, 2, generator).sample(generator)
    activity = torch.tensor([[0.5, 0.2, 0.9]])
    pairs = pairs_of(activity)
    expected = sum(
        activity[0, a] * activity[0, b] * ((factor[a] * factor[b]) @ output)
        for a, b in ((0, 1), (0, 2), (1, 2))
    )
    assert torch.allclose(interaction_shift(activity, (factor, output), pairs)[0], expected)


def test_pairs_are_those_that_occur_together() -> None:
    doses = torch.tensor([[1.0, 0, 2, 0], [0, 3, 0, 0], [0.1, 0, 0.5, 0]])
    assert pairs_of(doses).tolist() == [[0, 2]]


def test_an_interaction_needs_a_rank() -> None:
    with pytest.raises(ScreenError, match="rank"):
        Interaction(2, 2, 0, torch.Generator())


def test_compounds_that_were_in_no_pair_keep_their_prior() -> None:
    generator = torch.Generator().manual_seed(0)
    interaction = Interaction(4, 5, 2, generator)
    before = interaction.factor.mean.detach().clone()
    interaction.forget_unpaired(torch.tensor([[0, 2]]))
    assert torch.equal(interaction.factor.mean[[0, 2]], before[[0, 2]])
    assert (interaction.factor.mean[[1, 3]] == 0).all()
    assert torch.allclose(interaction.factor.log_sd[[1, 3]], torch.zeros(2, 2))
    assert (interaction.output.mean != 0).any()
    interaction.forget_unpaired(torch.zeros(0, 2, dtype=torch.long))
    assert float(interaction.kl().detach()) == pytest.approx(0, abs=1e-5)
