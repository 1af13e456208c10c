"""Strategies compared on what a campaign has measured: its own past, replayed. Workers only.

The code that plays is that of ``nextround replay``; here are the screen it plays on, and progress.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from models.evaluation.bench_limits import bench_rules
from models.evaluation.past_campaign import PastCampaign, Source
from models.evaluation.replay_running import ReplayWatcher, RoundNews, run_replays
from models.evaluation.replay_study import Amount, ReplayStudy, ReplayTask, Threshold
from models.evaluation.strategies import crossed
from models.objectives.scores import measure_blocks
from models.screen import Candidates, IntArray, Screen, ScreenError
from service.kit.artifacts import ArtifactStore
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.learning.fitting import Fitting, cannot_learn, round_rules
from service.learning.service import FEWEST_REPLAYED
from service.learning.snapshots import Snapshot, load_snapshot


@dataclass(frozen=True)
class SnapshotSource:
    """The measured blocks of a snapshot, as a screen whose outcome is known."""

    snapshot: str
    score: str

    @classmethod
    def of(cls, snapshot: str, score: str, artifacts: ArtifactStore) -> SnapshotSource:
        """Read from ``artifacts``, which is no part of what the source is."""
        source = cls(snapshot, score)
        object.__setattr__(source, "_artifacts", artifacts)
        return source

    @property
    def name(self) -> str:
        """What to call it in a report."""
        return "this campaign"

    def load(self) -> PastCampaign:
        """The campaign so far."""
        artifacts: ArtifactStore = getattr(self, "_artifacts")  # noqa: B009 - not a field
        return past_campaign(load_snapshot(self.snapshot, artifacts), self.score)

    def of_seed(self, seed: int) -> SnapshotSource:
        """The same screen under all seeds."""
        return self


def past_campaign(snapshot: Snapshot, score: str) -> PastCampaign:
    """The scored blocks that the campaign itself measured; their scores are the truth. Single
    agents, controls and all wells of earlier campaigns are known from the start.

    A block that an earlier campaign has measured as well is none that could be found: it is known
    from that one's wells, and the campaign's own wells of it play no part.
    """
    screen, origin = snapshot.screen, snapshot.origin
    blocks, wells = measure_blocks(screen, score), screen.wells
    known = wells.n_compounds < 2
    found = np.ones(len(blocks), dtype=bool)
    if origin is not None:
        known = known | (origin.well > 0)
        by = origin.measured_by(screen, blocks.candidates)
        found = by[:, 0] & ~by[:, 1:].any(axis=1)
    candidates, scores = blocks.candidates.select(found), blocks.score[found]
    pairs = np.flatnonzero(wells.n_compounds == 2)
    at = wells.select(pairs)
    n = len(screen.compounds)
    keys, own = candidates.keys(n), Candidates(at.compounds[:, :2], at.cell_line).keys(n)
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys, own, sorter=order), max(len(keys) - 1, 0))
    owner = np.full(len(wells), -1, dtype=np.int64)
    if len(keys):
        owner[pairs] = np.where(keys[order[place]] == own, order[place], -1)

    def reveal(rows: IntArray) -> Screen:
        shown = np.zeros(len(keys) + 1, dtype=bool)  # the last one: of no block
        shown[rows] = True
        return Screen(screen.compounds, screen.cell_lines, wells.select(known | shown[owner]))

    return PastCampaign(candidates, scores, scores, reveal)


@dataclass(frozen=True)
class ReplayJob:
    """One comparison, under the limits of the campaign as they were when it was asked for."""

    ctx: JobContext

    def run(self) -> dict[str, Any]:
        """The columns of the replayed campaign; finished rounds survive a crash."""
        ctx, asked = self.ctx, self.ctx.args["asked"]
        rules = round_rules(ctx.args["rules"])
        fitting = Fitting(ctx, str(ctx.campaign_id), rules, ctx.args["seed"])
        source = SnapshotSource.of(fitting.snapshot_name, rules.score, ctx.artifacts)
        n_blocks = len(source.load().candidates)
        require_enough(n_blocks, asked)
        folder = ctx.settings.data_dir / "replays" / ctx.job_id
        try:
            limits = self._limits(fitting.snapshot.screen.compounds.ids)
            report = self._play(self._study(source, rules.hit_threshold, limits), folder)
        except ScreenError as error:
            raise cannot_learn(error) from None
        if not report["strategies"]:
            reasons = "; ".join(f"{name}: {why}" for name, why in report["failed"].items())
            title = "No strategy could be played"
            raise JobFailed(problem_dict("cannot-replay", title, reasons, 422))
        shutil.rmtree(folder, ignore_errors=True)
        return {
            "campaign_id": ctx.campaign_id,
            "job_id": ctx.job_id,
            "asked": asked,
            "n_blocks": n_blocks,
            "snapshot": fitting.snapshot_name,
            "report": report,
        }

    def _limits(self, ids: Sequence[str]) -> dict[str, Any]:
        """Rules of a batch that come from the bench, for the compounds ``ids`` of the screen."""
        frozen, batch = self.ctx.args["rules"], self.ctx.args["asked"]["batch"]
        said = frozen["lab"] or {}
        plain = {("doses" if name == "block_doses" else name): said[name] for name in said}
        try:
            lab = bench_rules(plain, ids, batch) if plain else None
        except ScreenError as error:
            title = "The campaign's limits cannot be replayed"
            raise JobFailed(problem_dict("cannot-replay", title, str(error), 422)) from None
        return {"max_per_compound": frozen["max_per_compound"], "lab": lab}

    def _study(
        self, source: SnapshotSource, threshold: float, limits: Mapping[str, Any]
    ) -> ReplayStudy:
        asked = self.ctx.args["asked"]
        frozen = self.ctx.args["rules"]
        extra = {name: frozen[name] for name in ("kappa", "xi", "top_k")}
        extra["rounds_planned"] = asked["rounds"]
        strategies = crossed(asked["models"], asked["acquisitions"], extra)
        return ReplayStudy(
            sources=(cast(Source, source),),
            strategies=tuple(replace(s, extra={**s.extra, **limits}) for s in strategies),
            batch=Amount(count=asked["batch"]),
            initial=Amount(count=asked["initial"]),
            rounds=asked["rounds"],
            seeds=asked["seeds"],
            score=source.score,
            threshold=Threshold(score=threshold),
        )

    def _play(self, study: ReplayStudy, folder: Path) -> dict[str, Any]:
        total, done = len(study.tasks()) * study.rounds, [0]

        def over(task: ReplayTask, news: RoundNews) -> None:
            done[0] += news.number > 0
            self.ctx.progress(f"replaying {task.strategy.name}", done[0], total)

        watcher = ReplayWatcher(round=over, should_stop=self.ctx.should_stop)
        return run_replays(study, folder, device=self.ctx.device, watcher=watcher)


def require_enough(n_blocks: int, asked: Mapping[str, Any]) -> None:
    """Refuse where too few blocks have a score to tell strategies apart."""
    needed = max(FEWEST_REPLAYED, asked["initial"] + asked["batch"])
    if n_blocks < needed:
        detail = (
            f"{n_blocks} measured blocks have a score, a replay needs {needed}. Measure more "
            f"blocks, or the single agents of those that have none."
        )
        raise JobFailed(problem_dict("too-few-blocks", "Too little was measured", detail, 409))
