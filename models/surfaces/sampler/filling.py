"""Missing wells and replicates of a screen's blocks, filled in: fit, judge, draw, describe.

    found = fill_in(gather_blocks(wells, curves), curves.noise, asked, draws=100, seed=7)
    found.report()         # JSON-able, labelled synthetic

Before anything is drawn the sampler is judged on a fifth of the pairs that it did not see, beside
independent noise around Bliss. Where it does not beat that, the answer says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.pharmacology.noise import NoiseModel
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.admission import FEWEST_GROUPS, Gain, paired_gain
from models.surfaces.sampler.fitting import FEWEST, Options, fit_sampler
from models.surfaces.sampler.posterior import Imputed
from models.surfaces.sampler.references import AroundBliss

MOST_DRAWS = 500
LEVELS = (0.05, 0.95)
FEWEST_PAIRS = 5 * FEWEST_GROUPS
"""Pairs of compounds, a fifth of which are held out and judge."""


@dataclass(frozen=True)
class Filled:
    """``asked``: the blocks. ``drawn``: surfaces given their wells. ``gain``: of the sampler over
    noise around Bliss, nats a held-out block, or ``None`` where too few pairs can tell."""

    asked: Blocks
    drawn: Imputed
    gain: Gain | None
    seed: int

    @property
    def trusted(self) -> bool:
        """Whether held-out blocks are likelier under the sampler than around Bliss."""
        return self.gain is not None and self.gain.mean > 0 and self.gain.p_value <= 0.05

    def report(self) -> dict[str, Any]:
        """JSON-able. All under ``blocks`` is synthetic; indices are those of the screen."""
        return {
            "synthetic": True,
            "trusted": self.trusted,
            "words": self.words(),
            "gain_over_bliss": None if self.gain is None else vars(self.gain),
            "draws": len(self.drawn.surfaces),
            "seed": self.seed,
            "blocks": [self._block(row) for row in range(len(self.asked))],
        }

    def words(self) -> str:
        """How far to trust it."""
        if self.gain is None:
            return "too few pairs to hold any out: nobody knows how good these samples are"
        said = (f"{self.gain.mean:+.2f} +- {self.gain.error:.2f} nats a held-out block against "
                f"noise around Bliss, in {self.gain.groups} pairs")  # fmt: skip
        return said if self.trusted else f"no better than Bliss: {said}"

    def _block(self, row: int) -> dict[str, Any]:
        missing = self.drawn.missing[row]
        drawn, read = self.drawn.surfaces[:, row], self.drawn.replicates[:, row]
        low, high = np.quantile(read, LEVELS, axis=0)
        wells = [
            {
                "doses_um": [float(self.asked.doses[k][row, at[k]]) for k in (0, 1)],
                "missing": bool(missing[at]),
                "mean": float(drawn[:, at[0], at[1]].mean()),
                "low": float(low[at]),
                "high": float(high[at]),
                "replicates": [round(float(value), 4) for value in read[:, at[0], at[1]]],
            }
            for at in np.ndindex(*missing.shape)
        ]
        return {
            "compounds": self.asked.compounds[row].tolist(),
            "cell_line": int(self.asked.cell_line[row]),
            "n_measured": int((~missing).sum()),
            "effective_draws": round(float(self.drawn.effective[row]), 1),
            "n_missing": int(missing.sum()),
            "wells": wells,
        }


def fill_in(
    tables: Sequence[Blocks],
    noise: NoiseModel,
    asked: Blocks,
    *,
    draws: int,
    seed: int,
    options: Options | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> Filled:
    """Draws of the blocks ``asked`` given their wells, from a sampler of all ``tables``.

    Raises :class:`ScreenError` for more than :data:`MOST_DRAWS` draws, for asked blocks without
    any measured well and for screens with too few blocks to learn from.
    """
    if not 1 <= draws <= MOST_DRAWS:
        raise ScreenError(f"1 to {MOST_DRAWS} draws can be asked for, not {draws}")
    if not asked.measured.any(axis=(1, 2)).all():
        raise ScreenError("a block without any measured well has nothing to be filled in from")
    options = options or options_for(sum(map(len, tables)))
    gain = _judged(tables, noise, seed, options, on_progress, should_stop)
    sampler = fit_sampler(
        tables, noise, seed=seed, options=options, on_progress=on_progress, should_stop=should_stop
    )
    return Filled(asked, sampler.impute(asked, draws, seed), gain, seed)


def options_for(n_blocks: int) -> Options:
    """Small networks and short trainings for few blocks."""
    if n_blocks < 500:
        return Options(steps=400, rows=96, latent=3, hidden=24)
    return Options(steps=min(1600, 600 + n_blocks // 10), latent=4, hidden=48)


def _judged(
    tables: Sequence[Blocks],
    noise: NoiseModel,
    seed: int,
    options: Options,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> Gain | None:
    """The sampler and noise around Bliss, both without a fifth of the pairs, on these."""
    pairs = [_pair(blocks) for blocks in tables]
    names = np.unique(np.concatenate([np.empty(0, np.int64), *pairs]))
    if len(names) < FEWEST_PAIRS:
        return None
    out = np.random.default_rng(seed).permutation(names)[: len(names) // 5]
    held = [np.isin(pair, out) for pair in pairs]
    train = [blocks.select(~gone) for blocks, gone in zip(tables, held, strict=True)]
    if sum(map(len, train)) < FEWEST:
        return None
    sampler = fit_sampler(
        train, noise, seed=seed, options=options, on_progress=on_progress, should_stop=should_stop
    )
    around = AroundBliss.fit(max(train, key=len))
    differences: list[FloatArray] = []
    groups: list[IntArray] = []
    for blocks, gone, pair in zip(tables, held, pairs, strict=True):
        if gone.any():
            test = blocks.select(gone)
            differences.append(sampler.log_density(test) - around.log_density(test))
            groups.append(pair[gone])
    return paired_gain(np.concatenate(differences), np.concatenate(groups))


def _pair(blocks: Blocks) -> IntArray:
    low, high = blocks.compounds.min(axis=1), blocks.compounds.max(axis=1)
    return np.asarray(low * 10**6 + high)
