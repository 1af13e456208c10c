"""How healthy a fit is: what it could have memorised, and which experiments contradict each other.

Inputs of blocks are their points (:mod:`models.synergy.embedding`); fitted values are means over
whole functions. Nothing here changes a fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from models.bayes.contradictions import Neighbourhoods, find_contradictions
from models.bayes.memorisation import (
    FEWEST_PROBED,
    Probe,
    describe_memory,
    duplicates,
    probe,
    probe_rows,
    r_squared,
)
from models.bayes.neighbours import Neighbours
from models.bayes.training import NonFiniteLossError
from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    Wells,
    never_stop,
    no_progress,
)
from models.synergy.embedding import embed_blocks
from models.synergy.inputs import ScoredBlocks, Training
from models.synergy.registry import Model, ModelPosterior
from models.synergy.training import Schedule

DRAWS = 32
"""Whole functions behind a fitted value."""
MOST_SHOWN = 50


@runtime_checkable
class CountsParameters(Protocol):
    """A posterior that knows of how many numbers one of its functions consists."""

    @property
    def n_parameters(self) -> int | None:
        """``None`` where one of its parts does not know."""
        ...


@dataclass(frozen=True)
class Probing:
    """Ask for the permutation probe: one more fit of ``model``, to at most 400 blocks, with the
    steps of the fit that it is about."""

    model: Model
    device: str = "cpu"
    on_progress: ProgressCallback = no_progress
    should_stop: StopCallback = never_stop


def describe_health(
    posterior: ModelPosterior,
    training: Training,
    seed: int,
    probing: Probing | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """JSON-able report on a fit to ``training``. ``evidence``: what
    :func:`models.synergy.evidence.measure_evidence` reports of it.

    ``channels``: how active those of its networks are, null for a model without; ``memorisation``:
    :func:`models.bayes.memorisation.describe_memory` and ``replicates``, the noise floor of wells
    treated alike; ``measure_again``: :func:`contradictions_of`; ``warnings``: sentences for
    whoever answers for the fit: channels have collapsed, or memorisation is active *and* held-out
    blocks are forecast no better than by their mean. None where all is well.
    """
    training = training.sorted()
    blocks = training.blocks
    x = embed_blocks(blocks.candidates, training.features)
    fitted = _fitted(posterior, blocks.candidates, seed)
    probed, why_not = _probe(posterior, training, fitted, seed, probing)
    neighbours = Neighbours.of(x)
    count, counted = count_parameters(posterior)
    memory = describe_memory(
        x, blocks.score, count, neighbours=neighbours, probed=probed, why_not_probed=why_not,
        counted=counted,
    )  # fmt: skip
    memory["replicates"] = None if training.wells is None else describe_replicates(training.wells)
    channels = channels_of(posterior.diagnostics())
    found = find_contradictions(x, blocks.score, blocks.noise_sd, fitted, neighbours)
    return {
        "channels": channels,
        "memorisation": memory,
        "measure_again": contradictions_of(found, blocks, fitted),
        "warnings": _warnings(channels, memory, evidence),
    }


def count_parameters(posterior: ModelPosterior) -> tuple[int | None, str]:
    """Numbers of one function of a posterior, and what is among them; ``None`` where unknown."""
    if not isinstance(posterior, CountsParameters) or posterior.n_parameters is None:
        return None, f"{posterior.model} does not say of how many numbers it consists"
    counted = getattr(posterior, "counted", "weights of one function: one member or one draw")
    return posterior.n_parameters, counted


def describe_replicates(wells: Wells) -> dict[str, Any]:
    """Wells that hold the same compounds at the same doses in the same line, controls left out.

    ``groups``, ``points``, ``conflicting`` groups and the ``sd`` of a well's viability in them.
    """
    wells = wells.select(np.asarray((wells.doses_um > 0).any(axis=1)))
    key = np.concatenate([wells.compounds, wells.doses_um, wells.cell_line[:, None]], axis=1)
    group = np.unique(key, axis=0, return_inverse=True)[1].ravel()
    found = duplicates(np.asarray(group, np.int64), wells.viability)
    sd = None if found.variance is None else float(f"{math.sqrt(found.variance):.6g}")
    return {
        "groups": found.groups,
        "points": found.points,
        "conflicting": found.conflicting,
        "sd": sd,
    }


def contradictions_of(
    found: Neighbourhoods, blocks: ScoredBlocks, fitted: FloatArray
) -> dict[str, Any]:
    """JSON-able: the slopes, how many pairs were ``tested``, and at most 50 ``pairs``, the most
    surprising first: ``suspect`` and ``other`` as compounds and cell line (positions in the
    screen's tables) with ``score``, ``standard_error`` and ``expected`` by the fit; ``distance``,
    ``z``, ``p`` and ``q``."""

    def block(row: int) -> dict[str, Any]:
        return {
            "compounds": blocks.candidates.compounds[row].tolist(),
            "cell_line": int(blocks.candidates.cell_line[row]),
            "score": round(float(blocks.score[row]), 4),
            "standard_error": round(float(blocks.noise_sd[row]), 4),
            "expected": round(float(fitted[row]), 4),
        }

    pairs = [
        {
            "suspect": block(one.suspect),
            "other": block(one.other),
            **{name: float(f"{getattr(one, name):.6g}") for name in ("distance", "z", "p", "q")},
        }
        for one in found.flagged[:MOST_SHOWN]
    ]
    slopes = {"data_slope": found.data_slope, "fitted_slope": found.fitted_slope}
    return {
        **{name: None if v is None else float(f"{v:.6g}") for name, v in slopes.items()},
        "near": float(f"{found.near:.6g}"),
        "tested": found.tested,
        "flagged": len(found.flagged),
        "error_spread": round(found.spread, 4),
        "pairs": pairs,
    }


def channels_of(diagnostics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The channels of a model or of all its components, their layers put together; ``None`` where
    no network was trained."""
    found = list(_channels(diagnostics, ""))
    if not found:
        return None
    if len(found) == 1:
        return dict(found[0][1])
    layers = [
        {**layer, "name": f"{name}.{layer['name']}"}
        for name, report in found
        for layer in report["layers"]
    ]
    return {
        "layers": layers,
        "channels": sum(report["channels"] for _, report in found),
        "collapsed": sum(report["collapsed"] for _, report in found),
        "alert": any(report["alert"] for _, report in found),
        "words": " ".join(f"{name}: {report['words']}" for name, report in found),
    }


def learns_from_wells(model: Model) -> bool:
    """Whether a model reads wells instead of the blocks' scores; it says so in an attribute of
    this name. Scores cannot be permuted for it."""
    return bool(getattr(model, "learns_from_wells", False))


def _fitted(posterior: ModelPosterior, candidates: Candidates, seed: int) -> FloatArray:
    """``(m,)`` means over whole functions."""
    draws = posterior.draws(candidates, DRAWS, seed)
    return np.asarray(draws.double().mean(dim=0).numpy())


def _probe(
    posterior: ModelPosterior,
    training: Training,
    fitted: FloatArray,
    seed: int,
    probing: Probing | None,
) -> tuple[Probe | None, str]:
    """The permutation probe, or why there is none."""
    if probing is None:
        return None, "Permuted labels were not tried in this fit."
    if learns_from_wells(probing.model):
        return None, f"No permuted labels: {probing.model.name} learns from wells, not from scores."
    job = _Refit(probing, training, _budget(posterior.schedule), seed)
    try:
        found = probe(training.blocks.score, job, seed)
    except (ScreenError, NonFiniteLossError) as error:
        return None, f"Permuted labels could not be fitted: {error}."
    if found is None:
        return None, f"No permuted labels: fewer than {FEWEST_PROBED} blocks, or all scores equal."
    rows, _ = probe_rows(len(fitted), seed)
    return replace(found, fitted=r_squared(training.blocks.score[rows], fitted[rows])), ""


@dataclass(frozen=True)
class _Refit:
    """The same training on permuted scores, each with its own standard error."""

    probing: Probing
    training: Training
    schedule: Schedule | None
    seed: int

    def __call__(self, rows: IntArray, labels_of: IntArray) -> FloatArray:
        blocks, probing = self.training.blocks, self.probing
        permuted = ScoredBlocks(
            blocks.candidates.select(rows), blocks.score[labels_of], blocks.noise_sd[labels_of]
        )
        # Without wells: they would tell the true responses.
        training = Training(permuted, self.training.features, None, self.training.score)
        posterior = probing.model.fit(
            training,
            seed=self.seed,
            device=probing.device,
            on_progress=self._progress,
            should_stop=probing.should_stop,
            schedule=self.schedule,
        )
        return _fitted(posterior, permuted.candidates, self.seed)

    def _progress(self, stage: str, done: int, total: int) -> None:
        self.probing.on_progress("permuted labels", done, total)


def _budget(schedule: Schedule) -> Schedule | None:
    """The steps of a fit, without anything that it learned; a schedule that is more than steps
    is found anew."""
    return schedule if type(schedule) is Schedule else None


def _warnings(
    channels: Mapping[str, Any] | None,
    memory: Mapping[str, Any],
    evidence: Mapping[str, Any] | None,
) -> list[str]:
    found = []
    if channels is not None and channels["alert"]:
        found.append(str(channels["words"]))
    if memory["active"] and evidence is not None:
        own, mean = evidence["model"]["rmse"], evidence["baselines"]["mean"]["rmse"]
        if own is None or mean is None or own >= mean:
            found.append(f"{memory['words']} On held-out blocks it is no better than their mean.")
    return found


def _channels(diagnostics: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    own = diagnostics.get("channels")
    found = [] if own is None else [(name, own)]
    for part in diagnostics.get("components", ()):
        found += _channels(part["convergence"], str(part["model"]))
    if "inner" in diagnostics:
        found += _channels(diagnostics["inner"], name)
    return found
