"""Fitting a surface model: what is held out, which prior, how long, how wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from models.bayes.channel_health import ChannelHealth
from models.bayes.predictive import Noise
from models.bayes.recalibration import FEWEST, learn_scale
from models.bayes.training import one_thread
from models.screen import (
    BoolArray,
    CellLineTable,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.surfaces.blocks import Blocks
from models.surfaces.ensemble import (
    NOISE_DF,
    Ensemble,
    Lessons,
    Members,
    start_ensemble,
    train_ensemble,
)
from models.surfaces.inputs import Context, context_of, encode
from models.surfaces.kriging import Field, fit_field
from models.surfaces.masks import draw_masks
from models.surfaces.model import Calibration, SurfaceModel
from models.surfaces.network import Sizes
from models.surfaces.prediction import SurfacePrediction
from models.surfaces.scales import DoseScale
from models.surfaces.shift_folds import (
    HELD,
    ShiftFolds,
    fit_shift_folds,
    fold_numbers,
    without_folds,
)
from models.surfaces.shifts import Rows
from models.surfaces.shifts import Sizes as Tables

FEWEST_BLOCKS = 12
HELD_OUT = 0.15
WELLS_HELD_OUT = 60
DFS = (4.0, 6.0, 10.0, 30.0)
REGIMES = ("pair", "cell-line", "block")


@dataclass(frozen=True)
class Plan:
    """How a model is fitted.

    ``members``: of the ensemble. ``betas``: sizes of the frozen prior to choose from, in units of
    the residuals, by held-out likelihood with ``trial_members`` each and ``trial_share`` of the
    steps. ``steps``: None for as many as the blocks deserve. ``held_out``: what the blocks that
    choose and calibrate share, a key of :data:`HELD`. ``structured`` false, no ``wavelet``, one
    ``beta`` 0 and no ``random_targets`` make a plain deep ensemble.
    """

    members: int = 8
    betas: tuple[float, ...] = (0.05, 0.15, 0.5)
    trial_members: int = 3
    trial_share: float = 0.35
    steps: int | None = None
    held_out: str = "pair"
    width: int = 16
    wavelet: str = "haar"
    structured: bool = True
    random_targets: bool = True
    name: str = "operator"

    def steps_for(self, n_blocks: int) -> int:
        """Steps of the last training."""
        return self.steps if self.steps is not None else min(1200, 240 + n_blocks // 4)


def fit_surfaces(
    tables: Sequence[Blocks],
    cell_lines: CellLineTable,
    n_compounds: int,
    plan: Plan,
    seed: int,
    *,
    groups: Sequence[IntArray] | None = None,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> SurfaceModel:
    """Fit a model to measured blocks.

    ``groups``: for each table ``(b,)`` plates, which the bootstrap takes whole; blocks without.
    A share of the pairs (or cell lines, as the plan says) teaches no weights: it chooses the size
    of the prior and sets the width of the bands. Raises :class:`ScreenError` for fewer than
    :data:`FEWEST_BLOCKS` blocks and for held-out wells too few to calibrate.
    """
    tables = [blocks.select(blocks.touched) for blocks in tables]
    tables = [blocks for blocks in tables if len(blocks)]
    total = sum(map(len, tables))
    if total < FEWEST_BLOCKS:
        raise ScreenError(
            f"a surface model needs {FEWEST_BLOCKS} measured blocks, there are {total}"
        )
    with one_thread():
        return _Fit(
            tables, cell_lines, n_compounds, plan, seed, groups, on_progress, should_stop
        ).run()


@dataclass
class _Fit:
    tables: Sequence[Blocks]
    cell_lines: CellLineTable
    n_compounds: int
    plan: Plan
    seed: int
    groups: Sequence[IntArray] | None
    on_progress: ProgressCallback
    should_stop: StopCallback
    report: dict[str, Any] = field(default_factory=dict)

    def run(self) -> SurfaceModel:
        """All stages."""
        held = _held_out(self.tables, self.plan.held_out, self.n_compounds, self.seed)
        learn = [b.select(~h) for b, h in zip(self.tables, held, strict=True)]
        test = [b.select(h) for b, h in zip(self.tables, held, strict=True) if h.any()]
        groups = self._groups(held)
        kept = [k for k, blocks in enumerate(learn) if len(blocks)]
        learn, groups = [learn[k] for k in kept], [groups[k] for k in kept]
        scale = DoseScale.of(self.tables, self.n_compounds)
        context = context_of(tuple(learn), self.cell_lines, self.n_compounds, scale)
        sizes = Tables(self.n_compounds, len(self.cell_lines))
        lessons, residuals = self._lessons(learn, groups, context, sizes)
        known = fit_field(residuals, self.seed, self.should_stop)
        unit = float(np.sqrt(np.nanmean(np.concatenate([r[2].ravel() for r in residuals]) ** 2)))
        shifts = self._shifts(learn, context, sizes)
        judge = _Judge(context, shifts, known, test, self.seed, self.plan)
        beta = self._choose_beta(lessons, known, unit, judge)
        health = ChannelHealth()
        with health.watch():
            ensemble = self._train(Members.of(self.plan.members, beta), lessons, known, unit, 1.0)
        calibration = judge.calibrate(ensemble)
        self.report |= {
            "beta": beta,
            "unit": unit,
            "blocks_learned": sum(map(len, learn)),
            "blocks_held_out": sum(map(len, test)),
            "held_out": self.plan.held_out,
            "calibration": calibration.words,
            "trust": [calibration.trust_bare, calibration.trust_seen],
            "channels": health.report(),
        }
        everything = self._shifts(self.tables, context, sizes)
        return SurfaceModel(
            self.plan.name, context, everything, known, ensemble, calibration, self.report
        )

    def _shifts(self, tables: Sequence[Blocks], context: Context, sizes: Tables) -> ShiftFolds:
        return fit_shift_folds(
            tables, context.scale, sizes, self.seed, self.on_progress, self.should_stop
        )

    def _groups(self, held: Sequence[BoolArray]) -> list[IntArray]:
        """Numbers of plates or blocks of what is learned from, over all shapes."""
        found, start = [], 0
        for k, blocks in enumerate(self.tables):
            if self.groups is not None:
                found.append(self.groups[k][~held[k]])
                continue
            found.append(np.arange(start, start + len(blocks))[~held[k]])
            start += len(blocks)
        return found

    def _lessons(
        self,
        learn: Sequence[Blocks],
        groups: Sequence[IntArray],
        context: Context,
        sizes: Tables,
    ) -> tuple[list[Lessons], list[Any]]:
        """Blocks with the shifts of each regime; residuals of the first for the field."""
        rows = Rows.of(learn, context.scale, sizes)
        by_regime = [self._regime(held, rows) for held in self._regimes(learn)]
        lessons, residuals = [], []
        for k, blocks in enumerate(learn):
            parts = np.stack([regime[k][0] for regime in by_regime])
            counts = np.stack([regime[k][1] for regime in by_regime])
            encoded = encode(blocks, context, parts[0], counts[0])
            hidden = torch.tensor([held == "cell-line" for held in self._regimes(learn)])
            lessons.append(
                Lessons(
                    encoded,
                    torch.from_numpy(parts.astype(np.float32)),
                    torch.from_numpy(counts.astype(np.float32)),
                    hidden,
                    groups[k],
                )
            )
            residual = blocks.viability - blocks.reference - parts[0].sum(-1)
            decades = encoded.row_decades.numpy(), encoded.column_decades.numpy()
            wells = np.asarray(blocks.n_wells, np.float64)
            residuals.append((decades, blocks.margins, residual, wells))
        return lessons, residuals

    def _regimes(self, learn: Sequence[Blocks]) -> list[str]:
        """Those of which there are at least as many groups as folds."""
        found = []
        for held in REGIMES:
            keys = np.concatenate([HELD[held](blocks, self.n_compounds) for blocks in learn])
            if len(np.unique(keys)) >= 3:
                found.append(held)
        return found

    def _regime(self, held: str, rows: Rows) -> list[tuple[FloatArray, FloatArray]]:
        folds = fold_numbers(rows.tables, held, self.n_compounds, self.seed)
        fits = without_folds(rows, folds, self.on_progress, self.should_stop)
        found = []
        for blocks, fold in zip(rows.tables, folds, strict=True):
            parts = np.zeros((len(blocks), *blocks.shape, 4))
            counts = np.zeros((len(blocks), 3))
            for number, shifts in enumerate(fits):
                at = fold == number
                if at.any():
                    parts[at] = shifts.parts(blocks.select(at))
                    counts[at] = shifts.counts(blocks.select(at))
            found.append((parts, counts))
        return found

    def _choose_beta(
        self, lessons: Sequence[Lessons], known: Field, unit: float, judge: _Judge
    ) -> float:
        """All sizes of the prior train as one program; the held-out wells say which is best."""
        betas = self.plan.betas
        if len(betas) == 1:
            return betas[0]
        n = self.plan.trial_members
        members = Members(tuple(range(n)) * len(betas), tuple(np.repeat(betas, n).tolist()))
        trial = self._train(members, lessons, known, unit, self.plan.trial_share)
        scores = [judge.score(trial.select(range(k * n, (k + 1) * n))) for k in range(len(betas))]
        self.report["beta_scores"] = dict(zip(map(str, betas), scores, strict=True))
        return betas[int(np.argmax(scores))]

    def _train(
        self, members: Members, lessons: Sequence[Lessons], known: Field, unit: float, share: float
    ) -> Ensemble:
        context = lessons[0].encoded.descriptors.shape[1]
        sizes = Sizes(
            self.n_compounds, len(self.cell_lines), context,
            width=self.plan.width, wavelet=self.plan.wavelet,
        )  # fmt: skip
        steps = self.plan.steps_for(sum(len(lesson.encoded) for lesson in lessons))
        start = start_ensemble(
            sizes, members, lessons, known, unit, self.seed, structured=self.plan.structured
        )
        return train_ensemble(
            start, members, lessons, known, steps=max(1, round(share * steps)), seed=self.seed,
            random_targets=self.plan.random_targets,
            on_progress=self.on_progress, should_stop=self.should_stop,
        )  # fmt: skip


@dataclass(frozen=True)
class _Judge:
    """Held-out blocks, bare and with some wells measured."""

    context: Context
    shifts: ShiftFolds
    known: Field
    test: Sequence[Blocks]
    seed: int
    plan: Plan

    def score(self, ensemble: Ensemble) -> float:
        """Mean log density of the hidden wells, after the best common width of the bands."""
        total, n = 0.0, 0
        for pattern in ("nothing", "mixed"):
            draws, observed, noise = self._asked(ensemble, pattern)
            if len(observed) < FEWEST:
                continue
            factor = learn_scale(draws, observed, noise)
            total, n = total + factor.elpd_after * factor.n, n + factor.n
        return total / n

    def calibrate(self, ensemble: Ensemble) -> Calibration:
        """How far the operator is believed; width with nothing and with something measured, and
        the tails of both."""
        believed = Calibration()
        if ensemble.structured:
            believed = replace(
                believed,
                trust_bare=self._trust(ensemble, "nothing"),
                trust_seen=self._trust(ensemble, "mixed"),
            )
        bare, seen = (self._asked(ensemble, pattern, believed) for pattern in ("nothing", "mixed"))
        if len(seen[1]) < FEWEST:
            seen = bare
        best = -np.inf, Calibration()
        for df in DFS:
            learned = []
            for draws, observed, noise in (bare, seen):
                # The same spread whatever the tails, so that factors stay near 1.
                same = noise.scale * np.sqrt((df - 2) / df) * np.sqrt(noise.df / (noise.df - 2))
                learned.append(learn_scale(draws, observed, Noise(same, df)))
            value = sum(each.elpd_after * each.n for each in learned)
            if value > best[0]:
                tail = np.sqrt((df - 2) / df) * np.sqrt(noise.df / (noise.df - 2))
                n = sum(each.n for each in learned)
                words = "; ".join(each.words for each in learned)
                best = (
                    value,
                    replace(
                        believed,
                        bare=learned[0].factor,
                        seen=learned[1].factor,
                        df=df,
                        n_wells=n,
                        words=words,
                        tail=float(tail),
                    ),
                )
        return best[1]

    def _trust(self, ensemble: Ensemble, pattern: str) -> float:
        """Least squares of what the operator is to correct on its corrections, held to 0 to 1."""
        without = Calibration(trust_bare=0.0, trust_seen=0.0)
        start, observed, _ = self._asked(ensemble, pattern, without)
        full, _, _ = self._asked(ensemble, pattern)
        if len(observed) < FEWEST:
            return 1.0
        base = start.mean(axis=0)
        step = full.mean(axis=0) - base
        size = float(step @ step)
        share = float((observed - base) @ step) / size if size > 0 else 0.0
        return min(1.0, max(0.0, share))

    def _asked(
        self, ensemble: Ensemble, pattern: str, calibration: Calibration | None = None
    ) -> tuple[FloatArray, FloatArray, Noise]:
        """Draws, values and noise of the hidden wells."""
        rng = np.random.default_rng([self.seed, 23])
        model = SurfaceModel(
            "held out",
            self.context,
            self.shifts,
            self.known,
            ensemble,
            calibration or Calibration(),
            {},
        )
        draws, observed, scale = [], [], []
        for blocks in self.test:
            mask = draw_masks(pattern, len(blocks), blocks.shape, rng)
            if pattern != "nothing":
                mask &= blocks.measured
                some = np.asarray(mask.any(axis=(1, 2)), dtype=np.bool_)
                blocks, mask = blocks.select(some), mask[some]
            if not len(blocks):
                continue
            said: SurfacePrediction = model.predict(blocks.seen_only(mask))
            asked = (blocks.measured & ~mask).reshape(-1)
            draws.append(said.flat_draws()[:, asked])
            observed.append(blocks.viability.reshape(-1)[asked])
            scale.append(said.scale.reshape(-1)[asked])
        values = np.concatenate(observed) if observed else np.empty(0)
        if len(values) < FEWEST and pattern == "nothing":
            raise ScreenError(
                f"{len(values)} wells of held-out blocks are too few to set the width of the "
                f"bands; {FEWEST} are needed: measure more blocks"
            )
        if not draws:
            return np.zeros((len(ensemble), 0)), values, Noise(np.empty(0), NOISE_DF)
        return np.concatenate(draws, axis=1), values, Noise(np.concatenate(scale), NOISE_DF)


def _held_out(tables: Sequence[Blocks], held: str, n_compounds: int, seed: int) -> list[BoolArray]:
    """For each table ``(b,)`` bool: about :data:`HELD_OUT` of the groups, and more of them, up to
    a third, where these have fewer than :data:`WELLS_HELD_OUT` wells."""
    if held not in HELD:
        raise ScreenError(f"{held!r} cannot be held out; known are {', '.join(HELD)}")
    keys = [HELD[held](blocks, n_compounds) for blocks in tables]
    names, group = np.unique(np.concatenate(keys), return_inverse=True)
    if len(names) < 4:
        raise ScreenError(
            f"holding out by {held} needs at least four different ones, there are {len(names)}"
        )
    wells = np.concatenate([blocks.measured.sum(axis=(1, 2)) for blocks in tables])
    order = np.random.default_rng([seed, 29]).permutation(len(names))
    total = np.cumsum(np.bincount(group, wells)[order])
    enough = int(np.searchsorted(total, WELLS_HELD_OUT)) + 1
    count = max(1, round(HELD_OUT * len(names)), min(enough, len(names) // 3))
    chosen = names[order[:count]]
    return [np.asarray(np.isin(key, chosen), dtype=np.bool_) for key in keys]
