"""Several models as one: weights, calibration and choice from conditions held out of the fit.

The judged conditions are dealt into folds. Every member predicts each fold from all other
conditions; :mod:`models.perturbation.choice` makes weights and calibration of that; then the
members with weight are fitted to all conditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from models.bayes.stacking import allot
from models.perturbation.baselines import MIN_JUDGED, RULES, RuleModel, judged_rows
from models.perturbation.choice import STACKED, HeldOut, learn
from models.perturbation.data import ResponseTable
from models.perturbation.forecast import Forecast, moments
from models.perturbation.learnable import learnable
from models.perturbation.pair_factors import PairFactors
from models.perturbation.protocol import ResponseModel, ResponsePosterior
from models.perturbation.ridge import Ridge
from models.perturbation.saving import df_from_json, df_to_json, require_version
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

NAME = STACKED
VERSION = 1
FOLDS = 5
MOST_SINGLE_FOLDS = 24


def default_members() -> tuple[ResponseModel, ...]:
    """All baselines and :class:`PairFactors`."""
    rules = [RuleModel(name) for name in RULES]
    return (*rules, Ridge(singles_only=True), Ridge(), PairFactors())


@dataclass(frozen=True)
class StackedPosterior:
    """``members`` with their ``weights``; ``factor`` widens their doubt, ``noise_scale`` ``(g,)``
    and ``noise_df`` are common to all. ``report``: JSON-able, how the weights came about."""

    members: tuple[ResponsePosterior, ...]
    weights: tuple[float, ...]
    factor: float
    noise_scale: FloatArray
    noise_df: float
    report: dict[str, Any]
    model: str = NAME

    @property
    def perturbations(self) -> tuple[str, ...]:
        """``(p,)`` names."""
        return self.members[0].perturbations

    @property
    def readouts(self) -> tuple[str, ...]:
        """``(g,)`` names."""
        return self.members[0].readouts

    def mean(self, doses: FloatArray) -> FloatArray:
        """``(m, g)`` weighted mean of the members."""
        parts = [w * m.mean(doses) for w, m in zip(self.weights, self.members, strict=True)]
        return np.asarray(sum(parts[1:], parts[0]))

    def forecast(self, doses: FloatArray) -> Forecast:
        """The mixture, with the widened doubt of each member and the common noise."""
        found = [moments(member, doses) for member in self.members]
        means = np.stack([mean for mean, _ in found])
        doubt = self.factor**2 * np.stack([variance for _, variance in found])
        scales = np.sqrt(doubt + np.square(self.noise_scale))
        return Forecast(means, scales, np.array(self.weights), self.noise_df)

    def draws(self, doses: FloatArray, n: int, seed: int) -> FloatArray:
        """``(n, m, g)``: each world is one of a member, as often as its weight says, its distance
        from the member's mean widened by the factor."""
        owner = allot(np.array(self.weights), n, seed)
        out = np.empty((n, len(doses), len(self.readouts)))
        for k, member in enumerate(self.members):
            mine = np.flatnonzero(owner == k)
            if len(mine):
                mean = member.mean(doses)
                worlds = member.draws(doses, len(mine), seed)
                out[mine] = mean + self.factor * (worlds - mean)
        return out

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors under ``0.``, ``1.``, ... and each member's metadata."""
        tensors: dict[str, Tensor] = {}
        parts = []
        for k, member in enumerate(self.members):
            own, metadata = member.save()
            tensors |= {f"{k}.{name}": tensor for name, tensor in own.items()}
            parts.append(metadata)
        return tensors, {
            "model": NAME,
            "version": VERSION,
            "weights": list(self.weights),
            "factor": self.factor,
            "noise_scale": self.noise_scale.tolist(),
            "noise_df": df_to_json(self.noise_df),
            "report": self.report,
            "members": parts,
        }


@dataclass(frozen=True)
class Stacked:
    """The model; see the module."""

    members: tuple[ResponseModel, ...] = field(default_factory=default_members)
    folds: int = FOLDS
    name: str = NAME

    def fit(
        self,
        table: ResponseTable,
        *,
        seed: int,
        on_progress: ProgressCallback = no_progress,
        should_stop: StopCallback = never_stop,
    ) -> StackedPosterior:
        """Weights from held-out folds, members on all conditions. ``seed`` deals the folds."""
        rows = learnable(table)
        judged = judged_rows(rows)
        told = int((rows.n_present > 1).sum()) >= MIN_JUDGED
        job = _Job(self.members, seed, on_progress, should_stop)
        folds = self.folds if told else min(len(judged), MOST_SINGLE_FOLDS)
        order, held_out = job.hold_out(rows, judged, folds)
        learned = learn(held_out, rows.values[order], told)
        used = [m for m in self.members if learned.weights.get(m.name, 0.0) > 0]
        fitted = tuple(job.fit(model, rows, "fitting") for model in used)
        weights = tuple(learned.weights[model.name] for model in used)
        noise = sum(
            w * np.square(posterior.noise_scale)
            for w, posterior in zip(weights, fitted, strict=True)
        )
        return StackedPosterior(
            fitted,
            weights,
            learned.factor,
            learned.factor * np.sqrt(noise),
            learned.df,
            learned.report | {"folds": folds, "judged": len(judged), "judged_pairs": told},
        )

    def load(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> StackedPosterior:
        """Inverse of :meth:`StackedPosterior.save`."""
        require_version(metadata, NAME, VERSION)
        by_name = {model.name: model for model in self.members}
        members = []
        for k, part in enumerate(metadata["members"]):
            if part.get("model") not in by_name:
                raise ScreenError(f"{NAME} has no member {part.get('model')!r}")
            head = f"{k}."
            own = {t.removeprefix(head): v for t, v in tensors.items() if t.startswith(head)}
            members.append(by_name[part["model"]].load(own, part))
        return StackedPosterior(
            tuple(members),
            tuple(metadata["weights"]),
            metadata["factor"],
            np.array(metadata["noise_scale"]),
            df_from_json(metadata["noise_df"]),
            dict(metadata["report"]),
        )


@dataclass(frozen=True)
class _Job:
    """What the fits of one stack share."""

    models: Sequence[ResponseModel]
    seed: int
    on_progress: ProgressCallback
    should_stop: StopCallback

    def hold_out(
        self, rows: ResponseTable, judged: IntArray, folds: int
    ) -> tuple[IntArray, dict[str, HeldOut]]:
        """Judged rows in the order of their folds, and what each member says of them."""
        dealt = np.random.default_rng([self.seed, len(judged)]).permutation(judged)
        parts = [part for part in np.array_split(dealt, folds) if len(part)]
        said: dict[str, list[HeldOut]] = {model.name: [] for model in self.models}
        for k, part in enumerate(parts):
            train = rows.select(np.setdiff1d(np.arange(len(rows)), part))
            at = rows.select(part)
            for model in self.models:
                posterior = self.fit(model, train, f"fold {k + 1} of {len(parts)},")
                said[model.name].append(_hold_out(posterior, at))
        return np.concatenate(parts), {name: _join(found) for name, found in said.items()}

    def fit(self, model: ResponseModel, rows: ResponseTable, stage: str) -> ResponsePosterior:
        """A member fitted to ``rows``; its progress is told as that of ``stage``."""
        return model.fit(
            rows,
            seed=self.seed,
            on_progress=lambda what, done, total: self.on_progress(
                f"{stage} {model.name}: {what}", done, total
            ),
            should_stop=self.should_stop,
        )


def _hold_out(posterior: ResponsePosterior, at: ResponseTable) -> HeldOut:
    mean, variance = moments(posterior, at.doses)
    noise = np.broadcast_to(np.square(posterior.noise_scale), mean.shape)
    return HeldOut(mean, variance, noise)


def _join(parts: Sequence[HeldOut]) -> HeldOut:
    return HeldOut(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("mean", "variance", "noise")
        )
    )
