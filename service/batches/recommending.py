"""The round, as a durable job: fit, score the pool, choose, publish. Workers only."""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from models import rounds
from models.acquisition.rules import measured_rows
from models.rounds import Pool, RankedCandidates, RoundRules
from models.screen import NothingLeft, ScreenError
from service.batches.documents import NUMBERS, parquet_of
from service.batches.pool import read_pool
from service.batches.repository import BatchRepository, RecommendationRepository
from service.batches.tables import Recommendation
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.learning.fitting import Fitting, add_model, cannot_learn, unit_of


class RecommendJob:
    """One recommendation. Every stage is stored, so a crash costs one stage at most."""

    def __init__(self, ctx: JobContext) -> None:
        self.ctx = ctx
        self.campaign_id = str(ctx.campaign_id)
        self.rules = RoundRules(**ctx.args["rules"])
        self.seed: int = ctx.args["seed"]
        self.started = time.perf_counter()
        self.fitting = Fitting(ctx, self.campaign_id, self.rules, self.seed)

    def run(self) -> dict[str, Any]:
        """Run what is left of the job and return where its results are."""
        fitted = self.fitting.fitted
        stored = self.ctx.step("rank", self._rank)
        columns = self.fitting.describe_model()
        self.ctx.progress("publishing", 0, 1)

        def publish(session: Session) -> dict[str, Any]:
            unit = unit_of(self.ctx, session)
            model = add_model(unit, columns) if columns else None
            recommendation = self._row(stored, model.id if model else None, fitted.reason)
            recommendation.round = BatchRepository(session, unit.principal).next_round(
                self.campaign_id
            )
            RecommendationRepository(session, unit.principal).add(recommendation)
            session.flush()
            result = {"recommendation": f"/v1/recommendations/{recommendation.id}"}
            return {**result, **({"model": f"/v1/models/{model.id}"} if model else {})}

        return self.ctx.transaction("publish", publish)

    @cached_property
    def pool(self) -> Pool:
        """What could be measured, read when it is needed."""
        with self.ctx.database.reading() as session:
            return read_pool(
                unit_of(self.ctx, session), self.campaign_id, self.fitting.snapshot.screen
            )

    def _rank(self) -> dict[str, Any]:
        prepared, fitted = self.fitting.prepared, self.fitting.fitted
        screen, pool = self.fitting.snapshot.screen, self.pool
        try:
            scores = rounds.score_pool(
                screen,
                prepared,
                fitted,
                pool,
                self.rules,
                self.seed,
                on_progress=self.ctx.progress,
                should_stop=self.ctx.should_stop,
            )
            self.ctx.progress("choosing the batch", 0, 1)
            selecting = time.perf_counter()
            ranked = rounds.select(
                screen,
                prepared,
                fitted,
                pool,
                scores,
                self.rules,
                self.seed,
                names=self.fitting.snapshot.names,
            )
        except NothingLeft as error:
            title = "Nothing is left to propose"
            raise JobFailed(problem_dict("nothing-left", title, str(error), 409)) from None
        except ScreenError as error:
            raise cannot_learn(error) from None
        chosen = time.perf_counter()
        candidates = self._describe(ranked)
        return {
            "candidates": self.ctx.artifacts.put(dump_json(candidates).encode(), "json"),
            "table": self.ctx.artifacts.put(parquet_of(candidates), "parquet"),
            "n_pool": int(np.sum(~(pool.excluded | measured_rows(screen, pool)))),
            "n_ranked": len(candidates),
            "n_batch": int(np.sum(ranked.in_batch)),
            "timings": {
                "prepare_s": round(prepared.seconds, 3),
                "fit_s": round(fitted.seconds, 3),
                "score_s": round(scores.seconds, 3),
                "select_s": round(chosen - selecting, 3),
                "total_s": round(time.perf_counter() - self.started, 3),
            },
        }

    def _row(self, stored: dict[str, Any], model_id: str | None, reason: str) -> Recommendation:
        return Recommendation(
            id=new_id("rec"),
            campaign_id=self.campaign_id,
            job_id=self.ctx.job_id,
            model_id=model_id,
            rules=self.ctx.args["rules"],
            seed=self.seed,
            n_pool=stored["n_pool"],
            n_ranked=stored["n_ranked"],
            n_batch=stored["n_batch"],
            reason=reason,
            timings=stored["timings"],
            candidates=stored["candidates"],
            table_artifact=stored["table"],
        )

    def _describe(self, ranked: RankedCandidates) -> list[dict[str, Any]]:
        columns = {name: np.asarray(getattr(ranked, name)) for name in NUMBERS}
        return [
            {
                "rank": row + 1,
                "in_batch": bool(ranked.in_batch[row]),
                "batch_position": int(ranked.batch_position[row]) + 1 or None,
                "compounds": self._compounds(int(ranked.pool_index[row])),
                "cell_line": self._cell_line(int(ranked.pool_index[row])),
                **{name: _number(column[row]) for name, column in columns.items()},
                "nearest_measured": self._nearest(int(ranked.nearest[row])),
                "reason": ranked.reason[row],
            }
            for row in range(len(ranked.pool_index))
        ]

    def _compounds(self, pool_row: int) -> list[dict[str, Any]]:
        snapshot = self.fitting.snapshot
        ids = [snapshot.screen.compounds.ids[i] for i in self.pool.candidates.compounds[pool_row]]
        return [
            {"id": name, "name": snapshot.names[name], "doses_um": snapshot.doses_um[name]}
            for name in ids
        ]

    def _cell_line(self, pool_row: int) -> dict[str, str]:
        snapshot = self.fitting.snapshot
        name = snapshot.screen.cell_lines.ids[int(self.pool.candidates.cell_line[pool_row])]
        return {"id": name, "name": snapshot.names[name]}

    def _nearest(self, block: int) -> dict[str, Any] | None:
        if block < 0:
            return None
        snapshot, blocks = self.fitting.snapshot, self.fitting.prepared.blocks
        compounds = [snapshot.screen.compounds.ids[i] for i in blocks.candidates.compounds[block]]
        line = snapshot.screen.cell_lines.ids[int(blocks.candidates.cell_line[block])]
        return {
            "compounds": [snapshot.names[name] for name in compounds],
            "cell_line": snapshot.names[line],
            "score": _number(blocks.score[block]),
        }


def _number(value: Any) -> float:
    """Six significant digits: more would only be noise, and bytes."""
    return float(f"{float(value):.6g}")
