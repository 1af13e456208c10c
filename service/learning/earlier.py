"""What a fit owes to earlier campaigns, in numbers and in words. Workers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.pharmacology.agreement import Agreement, compare_sources
from models.rounds import Prepared
from models.screen import BoolArray, FloatArray
from service.learning.origin import Origin
from service.learning.snapshots import Snapshot

LEAST_JUDGED = 100
"""Blocks of the campaign itself, a fifth of which is enough to judge a model by."""
_OWN = "blocks that this campaign measured"
_INSIDE = "blocks of this campaign's compounds and cell lines, whoever measured them"
_ALL = "all blocks: too few are of this campaign's compounds and cell lines"


@dataclass(frozen=True)
class EarlierData:
    """The measured blocks of a snapshot, by campaign."""

    snapshot: Snapshot
    origin: Origin
    prepared: Prepared

    @classmethod
    def of(cls, snapshot: Snapshot, prepared: Prepared) -> EarlierData | None:
        """Nothing where all wells are the campaign's own."""
        return None if snapshot.origin is None else cls(snapshot, snapshot.origin, prepared)

    @cached_property
    def measured_by(self) -> BoolArray:
        """``(m, k)`` which campaigns have wells of each scored block, its own first."""
        return self.origin.measured_by(self.snapshot.screen, self.prepared.blocks.candidates)

    @cached_property
    def inside(self) -> BoolArray:
        """``(m,)`` which scored blocks are of the campaign's own compounds and lines."""
        return self.origin.inside(self.snapshot.screen, self.prepared.blocks.candidates)

    def judged(self) -> tuple[BoolArray | None, str]:
        """Blocks among which the held-out ones are drawn, nothing for all, and in words."""
        for rows, words in ((self.measured_by[:, 0], _OWN), (self.inside, _INSIDE)):
            if rows.sum() >= LEAST_JUDGED:
                return rows, words
        return None, _ALL

    def reason(self) -> str:
        """How much came from where, and what is to be known of it."""
        by, names = self.measured_by, self.snapshot.names
        own = int(by[:, 0].sum())
        listed = ", ".join(
            f"{int(by[:, row].sum())} of {names[name]!r}"
            for row, name in enumerate(self.origin.campaigns)
            if row
        )
        begins = f"{own} of these blocks are its own" if own else "None of these blocks is its own"
        cold = "" if own else ": it starts from what earlier campaigns measured"
        return " ".join([f"{begins}{cold} ({listed}).", *self.warnings()])

    @cached_property
    def agreements(self) -> list[Agreement]:
        """Each earlier campaign against the wells of the campaign itself."""
        screen = self.snapshot.screen
        return compare_sources(screen.wells, self.origin.well, len(screen.cell_lines))

    def warnings(self) -> list[str]:
        """A sentence for each earlier campaign that disagrees with this one."""
        names, campaigns = self.snapshot.names, self.origin.campaigns
        return [
            f"Warning: {names[campaigns[one.source]]!r} disagrees with "
            f"{'this campaign' if one.with_first else 'the other earlier ones'}: of "
            f"{one.treatments} treatments that both measured, {one.beyond_noise:.0%} differ by "
            f"more than noise (5% would by chance), by {one.shift:+.3f} on average."
            for one in self.agreements
            if one.disagrees
        ]

    def describe(self, sought: FloatArray, threshold: float) -> dict[str, Any]:
        """JSON-able. ``sought`` ``(m,)``: the objective of each block, NaN where not known."""
        by, inside = self.measured_by, self.inside
        hit = inside & (np.nan_to_num(sought, nan=-np.inf) > threshold)
        only = inside & ~by[:, 0]
        counts = [self._counts(row, by, inside, hit) for row in range(len(self.origin.campaigns))]
        return {
            "campaigns": counts,
            "n_blocks_only_earlier": int(only.sum()),
            "n_hits_only_earlier": int((hit & only).sum()),
            "judged_on": self.judged()[1],
            "agreement": [self._agreement(one) for one in self.agreements],
            "warnings": self.warnings(),
        }

    def _counts(self, row: int, by: BoolArray, inside: BoolArray, hit: BoolArray) -> dict[str, Any]:
        identifier = self.origin.campaigns[row]
        return {
            "campaign_id": identifier,
            "name": self.snapshot.names.get(identifier) if row else None,
            "own": row == 0,
            "n_wells": int((self.origin.well == row).sum()),
            "n_blocks": int(by[:, row].sum()),
            "n_blocks_inside": int((by[:, row] & inside).sum()),
            "n_hits": int((by[:, row] & hit).sum()),
        }

    def _agreement(self, one: Agreement) -> dict[str, Any]:
        return {
            "campaign_id": self.origin.campaigns[one.source],
            "with_own": one.with_first,
            "treatments": one.treatments,
            "beyond_noise": _short(one.beyond_noise),
            "shift": _short(one.shift),
            "shift_sd": _short(one.shift_sd),
            "well_sd": _short(one.well_sd),
            "disagrees": one.disagrees,
        }


def block_sources(earlier: EarlierData | None, n_blocks: int) -> list[Mapping[str, Any]]:
    """For each scored block, whether the campaign measured it and which earlier ones did."""
    if earlier is None:
        return [{"own": True, "earlier": []}] * n_blocks
    campaigns = earlier.origin.campaigns
    return [
        {"own": bool(row[0]), "earlier": [campaigns[k] for k in np.flatnonzero(row) if k]}
        for row in earlier.measured_by
    ]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
