"""One score network with everything it has learned: weights, fixed prior networks and noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.bayes.families import WEIGHT_FAMILIES
from models.screen import ScreenError
from models.synergy.inputs import InputTables
from models.synergy.network import DF_LOG_SD, DF_START, MIN_DF
from models.synergy.score_networks.architecture import (
    Design,
    Outputs,
    Part,
    Rows,
    Shape,
    Weights,
    evaluate,
    parts_of,
)
from models.synergy.score_networks.banks import Bank, Base, MemberBank, VariationalBank

ENSEMBLE_FORMS = ("deterministic", "ensemble", "randomised_prior", "mean_variance")
FORMS = (*ENSEMBLE_FORMS, *WEIGHT_FAMILIES)
MEMBERS = {"deterministic": 1, "ensemble": 8, "randomised_prior": 16, "mean_variance": 8}


@dataclass(frozen=True)
class Form:
    """How the weights are known; ``members`` counts the networks of an ensemble (else 1).

    ``beta``: scale of the fixed prior networks of ``randomised_prior``. Raises
    :class:`ScreenError` for an unknown form.
    """

    name: str
    members: int = 1
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in FORMS:
            raise ScreenError(f"unknown form {self.name!r}; known are {', '.join(FORMS)}")
        if self.members < 1 or not 0 < self.beta < math.inf:
            raise ScreenError("members must be at least 1 and the prior's scale positive")

    @property
    def variational(self) -> bool:
        """A posterior over weights instead of members."""
        return self.name in WEIGHT_FAMILIES

    @property
    def prunes(self) -> bool:
        """A posterior in which weights can become 0."""
        return self.variational and WEIGHT_FAMILIES[self.name].prunes


class ScoreModule(nn.Module):
    """Weights of one form in one architecture, and the Student-t noise that all members share.

    ``bases``: what the linear layers learned on another screen; ``prior_bases`` the same of the
    fixed networks. Started from ``seed``.
    """

    def __init__(
        self,
        design: Design,
        form: Form,
        shape: Shape,
        seed: int,
        bases: Mapping[str, Base] | None = None,
        prior_bases: Mapping[str, Base] | None = None,
    ) -> None:
        super().__init__()
        self.design, self.form, self.shape, self.seed = design, form, shape, seed
        parts = parts_of(design, shape)
        self.bank = _bank(parts, form, torch.Generator().manual_seed(seed), bases)
        self.prior: MemberBank | None = None
        if form.name == "randomised_prior":
            generator = torch.Generator().manual_seed(seed + 10_000)
            self.prior = MemberBank(parts, form.members, generator, prior_bases)
            self.prior.requires_grad_(False)
        self.log_noise = nn.Parameter(torch.tensor(-0.5))
        self.log_df = nn.Parameter(torch.tensor(math.log(DF_START)))

    def noise(self) -> tuple[Tensor, Tensor]:
        """Scale and degrees of freedom of the observation noise, in standardised units."""
        return torch.exp(self.log_noise), MIN_DF + torch.exp(self.log_df)

    def noise_penalty(self) -> Tensor:
        """Minus the log prior of the degrees of freedom; a scalar, nats."""
        return 0.5 * ((self.log_df - math.log(DF_START)) / DF_LOG_SD).square()

    def training_outputs(
        self, rows: Rows, tables: InputTables, generator: torch.Generator
    ) -> Outputs:
        """Of the trained part: without the fixed networks."""
        return evaluate(self.bank.training_weights(generator), rows, tables, self.design)

    @torch.no_grad()
    def fixed_scores(self, rows: Rows, tables: InputTables) -> Tensor | None:
        """``(members, rows)`` scaled scores of the fixed networks, or nothing."""
        if self.prior is None:
            return None
        weights = self.prior.training_weights(torch.Generator())
        return self.form.beta * evaluate(weights, rows, tables, self.design).score

    def prior_terms(self, generator: torch.Generator) -> Tensor:
        """``(members,)`` or ``(1,)`` nats. Trained parts stand under the scaled prior, too."""
        terms = self.bank.prior_terms(generator)
        return terms / self.form.beta**2 if self.prior is not None else terms

    @torch.no_grad()
    def forget_unmeasured(self, rows: Rows) -> None:
        """Give identities without data their prior: its draws, or the member's own first draw.

        The trained part of a randomised-prior member is 0 there, its exact optimum.
        """
        lines = self.shape.n_cell_lines
        singles = torch.cat([rows.single_a, rows.single_b])
        compounds = singles.div(lines, rounding_mode="floor")
        masks = {
            "compound": _unseen(compounds, self.shape.n_compounds),
            "single": _unseen(singles, self.shape.n_compounds * lines),
            "cell_line": _unseen(rows.cell_line, lines),
        }
        for owner, mask in masks.items():
            if isinstance(self.bank, VariationalBank):
                self.bank.forget(owner, mask)
            elif isinstance(self.bank, MemberBank):
                self.bank.put_rows(owner, mask, None if self.prior else self._first_draws())

    def adopt_bases(self, state: Mapping[str, Tensor]) -> None:
        """Take the bases in a saved state, whose presence and shapes follow from its history."""
        for prefix, bank in (("bank.", self.bank), ("prior.", self.prior)):
            if bank is not None:
                bank.adopt_bases(
                    {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                )

    def _first_draws(self) -> MemberBank:
        parts = parts_of(self.design, self.shape)
        bank = MemberBank(parts, self.form.members, torch.Generator().manual_seed(self.seed))
        return bank.to(self.log_noise.device)


@dataclass(frozen=True)
class Functions:
    """Whole functions drawn once from a network: :meth:`__call__` evaluates any rows."""

    design: Design
    weights: Weights
    fixed: Weights | None
    beta: float

    @classmethod
    def of(cls, module: ScoreModule, n: int, generator: torch.Generator) -> Functions:
        """``n`` draws, or as many members as there are if fewer."""
        weights = module.bank.sample(n, generator)
        fixed = None if module.prior is None else module.prior.sample(n, generator)
        return cls(module.design, weights, fixed, module.form.beta)

    @torch.no_grad()
    def __call__(self, rows: Rows, tables: InputTables) -> Outputs:
        """``(functions, rows)`` outputs."""
        found = evaluate(self.weights, rows, tables, self.design)
        if self.fixed is None:
            return found
        prior = evaluate(self.fixed, rows, tables, self.design).score
        return Outputs(found.score + self.beta * prior, found.log_scale)


def _bank(
    parts: tuple[Part, ...],
    form: Form,
    generator: torch.Generator,
    bases: Mapping[str, Base] | None,
) -> Bank:
    if form.variational:
        return VariationalBank(parts, WEIGHT_FAMILIES[form.name], generator, bases)
    return MemberBank(parts, form.members, generator, bases)


def _unseen(seen: Tensor, count: int) -> Tensor:
    mask = torch.ones(count, dtype=torch.bool, device=seen.device)
    mask[seen] = False
    return mask
