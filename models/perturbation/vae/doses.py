"""From doses to what acts in a cell: activities, dose rows over targets, and pairs.

Activity of compound c at dose d, in (0, 1 + K^h) and relative to dose 1 ("as used"):
    a_c(d) = d^h (1 + K^h) / (d^h + K^h),   a_c(0) = 0 and a_c(1) = 1 exactly.
Where all doses are 0 or 1 the row is the published indicator and the Hill parameters have no
gradient. Dose row over targets: D = a A with the affinities A. Pairs: the product a_c a_d, which
is 0 exactly when either dose is and the same to the bit in both orders.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.bayes.weights import GaussianWeight
from models.screen import ScreenError

LOG_SLOPE_SD = 0.3
"""Prior standard deviation of the log Hill slope; that of log K is 1."""
PAIR_SCALE = 0.5
"""Prior scale of the interaction's output weights, against 1 for a single effect."""


class DoseTerms(nn.Module):
    """A Hill term for each of ``p`` compounds over ``t`` targets; ``affinity`` is ``(p, t)``."""

    affinity: Tensor

    def __init__(self, affinity: Tensor) -> None:
        super().__init__()
        self.register_buffer("affinity", affinity)
        self.log_k = nn.Parameter(torch.zeros(len(affinity)))
        self.log_slope = nn.Parameter(torch.zeros(len(affinity)))

    def activity(self, doses: Tensor) -> Tensor:
        """``(n, p)`` doses to activities: exactly 0 at dose 0 and 1 at dose 1."""
        present = doses > 0
        slope = torch.exp(self.log_slope)
        # The logarithm never sees 0: its gradient would be NaN there.
        power = torch.exp(slope * torch.log(torch.where(present, doses, 1.0)))
        half = torch.exp(slope * self.log_k)
        return torch.where(present, power * (1 + half) / (power + half), 0.0)

    def rows(self, activity: Tensor) -> Tensor:
        """``(n, p)`` activities to dose rows over targets, ``(n, t)``."""
        return activity @ self.affinity

    def penalty(self) -> Tensor:
        """Minus the log prior of the Hill parameters; a scalar, nats."""
        slope = self.log_slope / LOG_SLOPE_SD
        return 0.5 * (self.log_k.square().sum() + slope.square().sum())


def pairs_of(doses: Tensor) -> Tensor:
    """``(k, 2)`` positions of the pairs of compounds present together in any row, ascending."""
    present = (doses > 0).float()
    together = torch.triu(present.T @ present, diagonal=1)
    return torch.nonzero(together)


class Interaction(nn.Module):
    """``sum over pairs of a_c a_d ((u_c * u_d) V)``: low rank, shared across pairs.

    ``u`` ``(p, rank)`` and ``V`` ``(rank, m)`` have Gaussian posteriors. A pair that was never
    measured is predicted from what its compounds do in other pairs.
    """

    def __init__(self, n: int, width: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        if rank < 1:
            raise ScreenError(f"the interaction needs a rank of at least 1, got {rank}")
        self.factor = GaussianWeight((n, rank), 1.0, generator)
        self.output = GaussianWeight((rank, width), PAIR_SCALE, generator, 0.1)

    def sample(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One draw of ``u`` and ``V``."""
        return self.factor.sample(1, generator)[0], self.output.sample(1, generator)[0]

    def kl(self) -> Tensor:
        """Scalar, nats."""
        return self.factor.kl() + self.output.kl()

    @torch.no_grad()
    def forget_unpaired(self, pairs: Tensor) -> None:
        """Give compounds that are in none of ``pairs`` ``(k, 2)`` their prior, and the output
        weights too if there are no pairs at all."""
        unpaired = torch.ones(len(self.factor.mean), dtype=torch.bool)
        unpaired[pairs.reshape(-1)] = False
        self.factor.reset_to_prior(unpaired)
        if not len(pairs):
            self.output.reset_to_prior(torch.ones(len(self.output.mean), dtype=torch.bool))


def interaction_shift(activity: Tensor, drawn: tuple[Tensor, Tensor], pairs: Tensor) -> Tensor:
    """``(n, m)`` shift that ``pairs`` ``(k, 2)`` add at ``activity`` ``(n, p)``."""
    factor, output = drawn
    first, second = pairs[:, 0], pairs[:, 1]
    weight = activity[:, first] * activity[:, second]
    return weight @ ((factor[first] * factor[second]) @ output)
