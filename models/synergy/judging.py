"""What a model is worth on this campaign, and which modules earn a place in it.

A module (:class:`models.synergy.modules.Module`) is used by a model only where held-out blocks are
forecast better with it than without, beyond noise. Both are fitted to the same four fifths and
judged on the same fifth, in up to ``FOLDS`` disjoint fifths while blocks are few. Densities are
paired by block: p with the module and q without. Beyond noise means that the mean gain in
log p / q is positive, and that so is p / (p + q) - 1/2, the probability that the module is right
of two equally likely models, by ``BEYOND_NOISE`` standard errors: bounded, so a few blocks that
one of the two did not expect at all do not decide. Standard errors count pairs of compounds, not
blocks, because what a module says of a pair is right or wrong in all its lines at once (Cameron &
Miller 2015, section II).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.bayes.forecast import number
from models.bayes.predictive import log_predictive_density
from models.bayes.training import NonFiniteLossError
from models.screen import (
    BoolArray,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)
from models.synergy.evidence import Evidence, forecast_blocks, measure_evidence, split_rows
from models.synergy.inputs import Training
from models.synergy.modules import Module
from models.synergy.registry import Model, find_model

FOLDS = 3
FEW_BLOCKS = 1_000
"""Blocks above which one fifth says enough of a module."""
BEYOND_NOISE = 1.282
"""Standard errors by which a module must be preferred: one of noise is used once in ten times at
most. A module of noise costs less than a good one left out: its weights are learned, too."""


@dataclass(frozen=True)
class Gain:
    """Nats a held-out block that a module adds, and the probability that it is right, each with
    its standard error over ``n_pairs`` pairs; see the module's text."""

    mean: float
    standard_error: float
    share: float
    share_error: float
    n_blocks: int
    n_pairs: int
    folds: int

    @property
    def is_real(self) -> bool:
        """Whether it is positive beyond noise."""
        return self.mean > 0 and self.share - 0.5 > BEYOND_NOISE * self.share_error


@dataclass(frozen=True)
class Judged:
    """``evidence`` of a model with the modules that it uses, and ``training`` with only those.

    The evidence's report has ``modules`` where any were offered: see :func:`judge_model`.
    """

    evidence: Evidence
    training: Training


@dataclass(frozen=True)
class Judge:
    """How models are judged; see :func:`models.synergy.evidence.measure_evidence`."""

    seed: int
    draws: int = 128
    device: str = "cpu"
    hit_threshold: float | None = None
    judged: BoolArray | None = None
    on_progress: ProgressCallback = no_progress
    should_stop: StopCallback = never_stop

    def measure(self, model: Model, training: Training) -> Evidence:
        """Evidence on the first fifth."""
        return measure_evidence(
            model,
            training,
            seed=self.seed,
            draws=self.draws,
            device=self.device,
            hit_threshold=self.hit_threshold,
            judged=self.judged,
            on_progress=self.on_progress,
            should_stop=self.should_stop,
        )

    def split(self, training: Training, fold: int) -> tuple[IntArray, IntArray]:
        """Rows of the sorted blocks to fit to and to judge on."""
        order = training.blocks.order(len(training.features.compounds))
        judged = None if self.judged is None else self.judged[order]
        return split_rows(len(order), self.seed, judged, fold)

    def density(self, model: Model, training: Training, fold: int) -> FloatArray:
        """``(held out,)`` log density of the blocks of a later fifth, nats."""
        kept, left_out = self.split(training, fold)
        training = training.sorted()
        held_out, train = training.blocks.select(left_out), training.select(kept)
        posterior = model.fit(
            train,
            seed=self.seed,
            device=self.device,
            on_progress=self.on_progress,
            should_stop=self.should_stop,
            refit=False,
        )
        functions, noise = forecast_blocks(posterior, train.blocks, held_out, self.draws, self.seed)
        return log_predictive_density(functions, held_out.score, noise)


def judge_models(
    names: Sequence[str], training: Training, judge: Judge
) -> tuple[dict[str, Judged], dict[str, str]]:
    """Each of the models ``names``, and why others could not be fitted.

    Raises the error of the last one where none could.
    """
    found: dict[str, Judged] = {}
    failed: dict[str, str] = {}
    for name in names:
        stage = f"evidence for {name}" if len(names) > 1 else "evidence"
        own = replace(judge, on_progress=_renamed(judge.on_progress, stage))
        try:
            found[name] = judge_model(find_model(name), training, own)
        except (ScreenError, NonFiniteLossError) as error:
            failed[name] = str(error)
            if len(failed) == len(names):
                raise
    return found, failed


def judge_model(model: Model, training: Training, judge: Judge) -> Judged:
    """Evidence of a model, with the modules that earn it.

    ``report["modules"]``, where there are modules: for each its ``name``, ``source`` and ``skill``,
    ``n_compounds`` and ``n_pairs`` that it knows, the ``gain`` in nats a block of the model with
    it alone beside without any and the ``share`` of probability that blocks give it, with errors,
    the ``n_held_out`` blocks and ``folds`` behind them (null where there was nothing to compare),
    ``used``, the ``weight`` with which it entered the model, and ``words``.
    """
    offered = training.features.modules
    bare = _with(training, ())
    evidence = judge.measure(model, bare)
    if not offered:
        return Judged(evidence, bare)
    trials = _Trials(model, bare, judge, evidence)
    described, used, alone = [], [], evidence
    for module in offered:
        gain, with_it, words = trials.judge(module)
        described.append(_describe(module, gain, with_it is not None, words))
        if with_it is not None:
            used.append(module)
            alone = with_it
    kept = _with(training, used)
    final = judge.measure(model, kept) if len(used) > 1 else alone
    return Judged(replace(final, report={**final.report, "modules": described}), kept)


def reads_modules(model: Model) -> bool:
    """Whether a model looks at modules at all; it says so in an attribute of this name."""
    return bool(getattr(model, "reads_modules", False))


def paired_gain(difference: FloatArray, pair: IntArray, folds: int) -> Gain:
    """Of differences ``(m,)`` in log density, of blocks whose pairs of compounds are numbered
    ``(m,)``; nothing is known where a difference is not finite."""
    n = len(difference)
    if not np.isfinite(difference).all():
        return Gain(math.nan, math.inf, math.nan, math.inf, n, 0, folds)
    share = 0.5 + 0.5 * np.tanh(0.5 * difference)
    groups = len(np.unique(pair))
    return Gain(*_mean_of(difference, pair), *_mean_of(share, pair), n, groups, folds)


def _mean_of(values: FloatArray, group: IntArray) -> tuple[float, float]:
    """Mean and its standard error where values of one group go together; infinite for one."""
    mean = float(values.mean())
    _, where = np.unique(group, return_inverse=True)
    sums = np.bincount(where, values - mean)
    groups = len(sums)
    if groups < 2:
        return mean, math.inf
    return mean, math.sqrt(float(np.square(sums).sum()) * groups / (groups - 1)) / len(values)


def module_words(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each module of a report."""
    return [str(module["words"]) for module in report.get("modules", ())]


class _Trials:
    """One model with one module after the other, beside itself without any."""

    def __init__(self, model: Model, bare: Training, judge: Judge, evidence: Evidence) -> None:
        self.model, self.bare, self.judged_by, self.evidence = model, bare, judge, evidence
        few = int(np.sum(judge.judged)) if judge.judged is not None else len(bare.blocks)
        self.folds = FOLDS if 5 * FOLDS <= few <= FEW_BLOCKS else 1
        self._bare: dict[int, FloatArray] = {0: evidence.log_density}

    def judge(self, module: Module) -> tuple[Gain | None, Evidence | None, str]:
        """The gain, evidence with it where it is used, and why it is or is not."""
        if module.skill == 0:
            return None, None, "left out: it had no skill on held-out data of its own"
        if module.says_nothing:
            return None, None, "left out: it tells none of these compounds or pairs apart"
        if not reads_modules(self.model):
            return None, None, f"left out: {self.model.name} does not read modules"
        try:
            gain, evidence = self._compare(_with(self.bare, (module,)))
        except (ScreenError, NonFiniteLossError) as error:
            return None, None, f"left out: {self.model.name} cannot be fitted with it ({error})"
        words = (
            f"with it held-out blocks gain {gain.mean:.3f} +- {gain.standard_error:.3f} nats each "
            f"and speak for it with {100 * gain.share:.1f} +- {100 * gain.share_error:.1f} % "
            f"({gain.n_blocks} blocks of {gain.n_pairs} pairs)"
        )
        if not gain.is_real:
            return gain, None, f"left out: {words}, which is not beyond noise"
        return gain, evidence, f"used: {words}"

    def _compare(self, training: Training) -> tuple[Gain, Evidence]:
        evidence = self.judged_by.measure(self.model, training)
        differences, pairs = [], []
        for fold in range(self.folds):
            own = evidence.log_density if fold == 0 else self._density(training, fold)
            with np.errstate(invalid="ignore"):  # two densities of 0: the gain is not a number
                differences.append(own - self._without(fold))
            pairs.append(self._pairs(fold))
        gain = paired_gain(np.concatenate(differences), np.concatenate(pairs), self.folds)
        return gain, evidence

    def _without(self, fold: int) -> FloatArray:
        if fold not in self._bare:
            self._bare[fold] = self._density(self.bare, fold)
        return self._bare[fold]

    def _density(self, training: Training, fold: int) -> FloatArray:
        return self.judged_by.density(self.model, training, fold)

    def _pairs(self, fold: int) -> IntArray:
        _, left_out = self.judged_by.split(self.bare, fold)
        ends = np.sort(self.bare.sorted().blocks.candidates.compounds[left_out], axis=1)
        return np.asarray(ends[:, 0] * len(self.bare.features.compounds) + ends[:, 1])


def _with(training: Training, modules: Sequence[Module]) -> Training:
    return replace(training, features=replace(training.features, modules=tuple(modules)))


def _describe(module: Module, gain: Gain | None, used: bool, words: str) -> dict[str, Any]:
    n_compounds = int(module.known_compounds.sum())
    n_pairs = int(np.triu(module.known_pairs, k=1).sum())
    head = (
        f"Module {module.name} (skill {module.skill:.2f}, knows {n_compounds} of "
        f"{len(module.compounds)} compounds and {n_pairs} pairs)"
    )
    return {
        "name": module.name,
        "source": module.source,
        "skill": number(module.skill),
        "n_compounds": n_compounds,
        "n_pairs": n_pairs,
        "gain": None if gain is None else number(gain.mean),
        "standard_error": None if gain is None else number(gain.standard_error),
        "share": None if gain is None else number(gain.share),
        "share_error": None if gain is None else number(gain.share_error),
        "n_held_out": None if gain is None else gain.n_blocks,
        "folds": None if gain is None else gain.folds,
        "used": used,
        "weight": number(module.skill) if used else 0.0,
        "words": f"{head} is {words}.",
    }


def _renamed(on_progress: ProgressCallback, stage: str) -> ProgressCallback:
    return lambda _, done, total: on_progress(stage, done, total)
