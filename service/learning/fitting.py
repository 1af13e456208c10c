"""The part that training and recommending share: snapshot, fit, evidence, a row for the model.

Imported by workers only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from sqlalchemy.orm import Session

from models import rounds
from models.bayes.predictive import Noise
from models.rounds import Aim, Fitted, Prepared, RoundRules
from models.screen import Candidates, ScreenError
from models.synergy.registry import ModelPosterior
from service.kit.artifacts import ArtifactStore
from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth.principal import Principal
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.kit.outbox import emit
from service.kit.parts import Parts
from service.kit.unit import Unit
from service.learning.earlier import EarlierData, block_sources
from service.learning.health import warnings_of, with_names
from service.learning.objectives import objective_of
from service.learning.repository import FittedModelRepository
from service.learning.snapshots import Snapshot, load_snapshot, read_snapshot, store_snapshot
from service.learning.tables import FittedModel

log = structlog.get_logger(__name__)


def unit_of(ctx: JobContext, session: Session) -> Unit:
    """The job as the one who reads and writes, for the workspace that asked for it."""
    principal = Principal.of_job(ctx.workspace_id, ctx.job_id)
    attach(session, AuditContext(principal, request_id=ctx.job_id))
    return Unit(session, principal, Parts(ctx.settings, ctx.database, ctx.artifacts))


def round_rules(frozen: Mapping[str, Any]) -> RoundRules:
    """The rules that a job was asked to follow, but for those of the laboratory: these name
    compounds, and belong to whoever chooses a batch."""
    plain = {name: frozen[name] for name in frozen if name not in ("lab", "objective")}
    return RoundRules(**plain, objective=objective_of(frozen.get("objective"), frozen["score"]))


@dataclass
class Fitting:
    """One fit of one campaign inside one job, stage by stage, each stage durable."""

    ctx: JobContext
    campaign_id: str
    rules: RoundRules
    seed: int
    _fresh: Fitted | None = None
    """The posterior, where this very attempt fitted it."""

    @cached_property
    def snapshot_name(self) -> str:
        """The snapshot this job works on; taken once, whoever resumes the job."""
        return self.ctx.step("snapshot", self._take_snapshot)

    @cached_property
    def snapshot(self) -> Snapshot:
        """The screen and its names."""
        return load_snapshot(self.snapshot_name, self.ctx.artifacts)

    @cached_property
    def prepared(self) -> Prepared:
        """Curves and scored blocks: quick and deterministic, so they are made anew, not stored."""
        return rounds.prepare(
            self.snapshot.screen,
            self.rules,
            on_progress=self.ctx.progress,
            should_stop=self.ctx.should_stop,
        )

    @cached_property
    def earlier(self) -> EarlierData | None:
        """What came from earlier campaigns, if anything did."""
        return EarlierData.of(self.snapshot, self.prepared)

    @cached_property
    def described_earlier(self) -> dict[str, Any] | None:
        """The same as it is kept."""
        if self.earlier is None:
            return None
        return self.earlier.describe(self.aim.measured.by_block(), self.rules.hit_threshold)

    @cached_property
    def stored(self) -> dict[str, str]:
        """The artifacts of the posterior."""
        return self.ctx.step("fit", self._fit)

    @cached_property
    def fitted(self) -> Fitted:
        """The posterior, from this attempt or an earlier one."""
        stored = self.stored
        if self._fresh is not None:
            return self._fresh
        return load_fit(stored["weights"], stored["metadata"], self.ctx.artifacts, self.ctx.device)

    @cached_property
    def aim(self) -> Aim:
        """What the campaign looks for, on draws of the posterior and as measured."""
        return rounds.aim_of(self.snapshot.screen, self.prepared, self.fitted, self.rules)

    def _take_snapshot(self) -> str:
        self.ctx.progress("reading measurements", 0, 1)
        try:
            with self.ctx.database.reading() as session:
                snapshot = read_snapshot(unit_of(self.ctx, session), self.campaign_id)
        except ScreenError as error:
            raise cannot_learn(error) from None
        return store_snapshot(snapshot, self.ctx.artifacts)

    def _fit(self) -> dict[str, str]:
        judged, words = (None, "") if self.earlier is None else self.earlier.judged()
        try:
            fitted = rounds.fit(
                self.snapshot.screen,
                self.prepared,
                self.rules,
                self.seed,
                modules=self.snapshot.modules,
                judged=judged,
                probe=True,
                device=self.ctx.device,
                on_progress=self.ctx.progress,
                should_stop=self.ctx.should_stop,
            )
        except ScreenError as error:
            raise cannot_learn(error) from None
        screen, names = self.snapshot.screen, self.snapshot.names
        evidence = with_names(fitted.evidence, screen.compounds.ids, screen.cell_lines.ids, names)
        fitted = replace(fitted, evidence=evidence)
        if self.earlier is not None and fitted.posterior is not None:
            reason = f"{fitted.reason} {self.earlier.reason()}"
            fitted = replace(fitted, reason=reason, evidence={**evidence, "judged_on": words})
        self._fresh = fitted
        return store_fit(fitted, self.ctx.artifacts)

    def _measured_blocks(self) -> list[dict[str, Any]]:
        """What every measured block scored, with names: the data as the model saw them."""
        blocks, names = self.prepared.blocks, self.snapshot.names
        sought, threshold = self.aim.measured.by_block(), self.rules.hit_threshold
        compounds, lines = self.snapshot.screen.compounds.ids, self.snapshot.screen.cell_lines.ids
        sources = block_sources(self.earlier, len(blocks))
        return [
            {
                "compounds": [compounds[a], compounds[b]],
                "compound_names": [names[compounds[a]], names[compounds[b]]],
                "cell_line": lines[line],
                "cell_line_name": names[lines[line]],
                "score": round(float(score), 4),
                "standard_error": round(float(error), 4),
                "n_wells": int(n_wells),
                "objective": None if np.isnan(value) else round(float(value), 4),
                "is_hit": None if np.isnan(value) else bool(value > threshold),
                **source,
            }
            for (a, b), line, score, error, n_wells, value, source in zip(
                blocks.candidates.compounds,
                blocks.candidates.cell_line,
                blocks.score,
                blocks.noise_sd,
                blocks.n_wells,
                sought,
                sources,
                strict=True,
            )
        ]

    def describe_model(self) -> dict[str, Any] | None:
        """The columns of the fitted model; nothing where no model could be fitted.

        To be called before the transaction that publishes the model: that one holds the job's
        row, to which everything here reports its progress.
        """
        if self.fitted.posterior is None:
            return None
        stored = self.stored
        return {
            "campaign_id": self.campaign_id,
            "job_id": self.ctx.job_id,
            "name": self.fitted.posterior.model,
            "score": self.rules.score,
            "n_wells": len(self.snapshot.screen.wells),
            "n_blocks": len(self.prepared.blocks.candidates),
            "snapshot": self.snapshot_name,
            "weights": stored["weights"],
            "metadata_artifact": stored["metadata"],
            "blocks": self.ctx.artifacts.put(dump_json(self._measured_blocks()).encode(), "json"),
            "evidence": self.fitted.evidence,
            "earlier": self.described_earlier,
            "excluded": describe_exclusions(self.prepared, self.snapshot),
            "seed": self.seed,
            "device": self.ctx.device,
            "device_reason": self.ctx.device_reason,
            "versions": library_versions(),
        }


def add_model(unit: Unit, columns: dict[str, Any]) -> FittedModel:
    """Put the model that :meth:`Fitting.describe_model` described into the database."""
    model = FittedModelRepository(unit.session, unit.principal).add(
        FittedModel(id=new_id("mdl"), **columns)
    )
    unit.session.flush()
    emit(unit.session, "model.ready", model, score=model.score)
    warnings = warnings_of(model.evidence)
    if warnings:
        log.warning("model.warned", model_id=model.id, warnings=warnings)
        emit(unit.session, "model.warned", model, warnings=len(warnings))
    return model


def store_fit(fitted: Fitted, artifacts: ArtifactStore) -> dict[str, str]:
    """Store a fit as safetensors and JSON; return the names of both."""
    tensors, metadata = rounds.save_fitted(fitted)
    return {
        "weights": artifacts.put(save(tensors), "safetensors"),
        "metadata": artifacts.put(dump_json(metadata).encode(), "json"),
    }


def load_fit(weights: str, metadata: str, artifacts: ArtifactStore, device: str) -> Fitted:
    """The fit that was stored under these names."""
    description: dict[str, Any] = json.loads(artifacts.get(metadata))
    return rounds.load_fitted(load(artifacts.get(weights)), description, device)


def draw_worlds(
    posterior: ModelPosterior, at: Candidates, n: int, seed: int
) -> tuple[NDArray[np.float64], Noise]:
    """``(n, m)`` noise-free scores of ``at`` in ``n`` worlds, and the noise of a measurement."""
    draws = posterior.draws(at, n, seed).cpu().numpy().astype(np.float64)
    scale = posterior.noise_scale(at).cpu().numpy().astype(np.float64)
    return draws, Noise(scale, posterior.noise_df)


def describe_exclusions(prepared: Prepared, snapshot: Snapshot) -> list[dict[str, Any]]:
    """What the model did not see, and why, with names instead of ids."""
    described = []
    for exclusion in prepared.blocks.excluded[:200]:
        reason = exclusion.reason
        for identifier, name in snapshot.names.items():
            reason = reason.replace(identifier, name)
        described.append(
            {"reason": reason, "n_blocks": exclusion.n_blocks, "n_wells": exclusion.n_wells}
        )
    return described


def cannot_learn(error: ScreenError) -> JobFailed:
    """The failure of a job whose data no model can use."""
    return JobFailed(
        problem_dict("cannot-learn", "There is nothing to learn from", str(error), 422)
    )


def library_versions() -> dict[str, str]:
    """What the result depends on besides the data, the rules and the seed."""
    names = ("nextround", "numpy", "scipy", "rdkit")
    return {**{name: version(name) for name in names}, "torch": torch.__version__}
