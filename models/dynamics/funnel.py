"""How the posterior of shared unknowns bends with the spreads: the shape of a funnel.

Where the readings of a group say that its value m + s e, e ~ N(0, 1), is about N(c, 1/t), the exact
posterior of the standardised effect, given the population value m and the spread s, is

    e | m, s ~ N(s t (c - m) / (1 + s^2 t), 1 / (1 + s^2 t)):

centred where groups are well known, non-centred where they are not (Neal 2003, Ann. Stat. 31,
section 8; Papaspiliopoulos, Roberts & Skold 2007). A population value that is the mean of groups is
as wide as sqrt(1 + k s^2) says. One normal over log s, m and e holds none of this, and is too
narrow: here its centre and width move with m and s as these formulas say, with ratios r = s^2 t and
s^2 k that are learned. At the posterior means of m and s nothing moves. (Gorinova, Moore & Hoffman
2020, ICML, learn a place between centred and not; the form above is exact for one normal level.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.dynamics.parameters import Hierarchy

OTHER, LOCATION, EFFECT = 0, 1, 2
"""Ranks: a shared unknown may depend on those of lower rank in a bent way."""


class Funnel(nn.Module):
    """Centre and width of ``D`` shared unknowns, given the spreads and population values.

    ``rank`` ``(D,)``: :data:`EFFECT` of groups and :data:`LOCATION` of populations whose spread is
    to be learned, all else :data:`OTHER`. What is ``moved`` ``(..., D)`` is how far unknowns are
    from their posterior means, on the inner scale.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        super().__init__()
        self.rank: Tensor
        rank = torch.zeros(hierarchy.shared_size, dtype=torch.long)
        for name in ("effect_spreads", "location_spreads", "effect_locations"):
            pairs = torch.tensor(getattr(hierarchy, name), dtype=torch.long).reshape(-1, 2).T
            self.register_buffer(name, pairs, persistent=False)
        self.effect_spreads: Tensor
        self.location_spreads: Tensor
        self.effect_locations: Tensor
        rank[self.location_spreads[0]] = LOCATION
        rank[self.effect_spreads[0]] = EFFECT
        self.register_buffer("rank", rank, persistent=False)
        self.effects = nn.Parameter(torch.zeros(self.effect_spreads.shape[1]))
        self.locations = nn.Parameter(torch.zeros(self.location_spreads.shape[1]))

    @property
    def bends(self) -> bool:
        """Whether there is a spread to be learned."""
        return len(self.effects) + len(self.locations) > 0

    def factors(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Log factors of centre and of width, ``(..., D)`` each, 0 for what does not bend; only
        spreads are read of ``moved``."""
        zero = torch.zeros_like(moved)
        of, spread = self.effect_spreads
        far = moved[..., spread]
        lost = nn.functional.softplus(self.effects) - nn.functional.softplus(self.effects + 2 * far)
        centre = zero.index_copy(-1, of, far + lost)
        to, spread = self.location_spreads
        start = torch.exp(self.locations).expand(*moved.shape[:-1], -1)
        now = torch.exp(self.locations + 2 * moved[..., spread])
        wide = zero.index_add(-1, to, now).log1p() - zero.index_add(-1, to, start).log1p()
        return centre, (0.5 * wide).index_copy(-1, of, 0.5 * lost)

    def pull(self, moved: Tensor, log_spread: Tensor) -> Tensor:
        """What population values that ``moved`` do to the centres of effects, ``(..., D)``, before
        these are bent; ``log_spread`` ``(D,)``: posterior means; only those of spreads are read."""
        at, location = self.effect_locations
        of, spread = self.effect_spreads[:, at]
        share = torch.sigmoid(self.effects[at]) * torch.exp(-log_spread[spread])
        return torch.zeros_like(moved).index_copy(-1, of, -share * moved[..., location])
