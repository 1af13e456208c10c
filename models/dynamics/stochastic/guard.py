"""Do the data look like anything that was simulated? If not, no posterior is given.

A network asked about data unlike its simulations answers with confidence and nonsense (Schmitt et
al. 2021). Each summary is first turned into the normal score of its rank among simulated ones, so
that what is rare and yet simulated (no cells left) is not far out; beyond all of them it goes on
in a straight line. The Mahalanobis distance from the cloud of such scores is ranked among
distances of simulations that the cloud has not seen, so that its p-value holds whatever the shape
of the cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.screen import ScreenError

REFUSED_BELOW = 0.01
SHRINKAGE = 0.02
"""Weight of independence in the covariance of the cloud."""


@dataclass(frozen=True)
class Verdict:
    """``p``: chance of a simulation as far from the cloud; ``words`` say what is odd."""

    p: float
    refused: bool
    words: str


@dataclass(frozen=True)
class Cloud:
    """Simulated summaries ``(H, n)``, ascending; ``spread`` ``(H,)`` of each; whitening ``(H, H)``
    of their scores; and distances ``(M,)``, ascending, of other simulations."""

    known: Tensor
    spread: Tensor
    whitening: Tensor
    distances: Tensor

    @classmethod
    def of(cls, summaries: Tensor) -> Cloud:
        """From summaries ``(N, H)``: half of them the cloud, half the ranks. Raises
        :class:`ScreenError` for too few."""
        half = len(summaries) // 2
        if half < 200:
            raise ScreenError(f"{len(summaries)} simulations are too few to judge data by")
        known = summaries[:half].to(torch.float64)
        spread = known.std(dim=0).clamp(min=1e-9)
        ranked = known.T.sort(dim=1).values.contiguous()
        blank = cls(ranked, spread, torch.eye(len(ranked), dtype=torch.float64), torch.zeros(0))
        covariance = torch.cov(blank.scores(known).T)
        own = torch.diag(covariance.diagonal().clamp(min=1e-3))
        factor = torch.linalg.cholesky((1 - SHRINKAGE) * covariance + SHRINKAGE * own)
        cloud = cls(ranked, spread, torch.linalg.inv(factor), torch.zeros(0))
        distances = cloud.distance(summaries[half:]).sort().values
        return cls(ranked, spread, cloud.whitening, distances)

    def scores(self, summaries: Tensor) -> Tensor:
        """``(N, H)`` normal scores of the mean rank of ``(N, H)``, and what lies beyond."""
        values = summaries.to(torch.float64).T.contiguous()
        low = torch.searchsorted(self.known, values)
        high = torch.searchsorted(self.known, values, right=True)
        n = self.known.shape[1]
        rank = ((low + high) / 2 + 0.5) / (n + 1)
        above = (values - self.known[:, -1:]).clamp(min=0)
        below = (self.known[:, :1] - values).clamp(min=0)
        inside: Tensor = torch.special.ndtri(rank)
        return (inside + (above - below) / self.spread[:, None]).T

    def distance(self, summaries: Tensor) -> Tensor:
        """``(N,)`` Mahalanobis distances of ``(N, H)``."""
        return (self.scores(summaries) @ self.whitening.T).square().sum(dim=1).sqrt()

    def p(self, summaries: Tensor) -> Tensor:
        """``(N,)`` chances of simulations at least as far; never 0."""
        further = len(self.distances) - torch.searchsorted(self.distances, self.distance(summaries))
        return (1 + further).to(torch.float64) / (1 + len(self.distances))

    def verdicts(self, summaries: Tensor, names: Sequence[str]) -> list[Verdict]:
        """What to say of each row; ``names`` of the first summaries, those a person can read."""
        found = []
        scores = self.scores(summaries)[:, : len(names)]
        for row, p in zip(scores, self.p(summaries).tolist(), strict=True):
            most = int(row.abs().argmax())
            odd = f"{names[most]} lies {float(row[most]):+.1f} standard deviations off"
            refused = p < REFUSED_BELOW
            words = (
                f"The counts look like nothing that was simulated (p = {p:.2g}; {odd}): "
                "no rates are given."
                if refused
                else "The counts look like simulated ones."
            )
            found.append(Verdict(p, refused, words))
        return found


def second_look(verdict: Verdict, p: float) -> Verdict:
    """A refusal after a look at replicas from the data's own posterior, which resemble the data
    with chance ``p``: kept where they do not, else the data are rare but explained."""
    if p < REFUSED_BELOW:
        return verdict
    words = (
        f"Such counts are rare among those simulated (p = {verdict.p:.2g}), but the rates found "
        f"explain them (p = {p:.2g} among replicas)."
    )
    return Verdict(verdict.p, False, words)
