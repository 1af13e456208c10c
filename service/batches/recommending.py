"""The round, as a durable job: fit, score the pool, choose, publish. Workers only."""

from __future__ import annotations

import json
import math
import re
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from models import rounds
from models.acquisition.conflicts import InfeasibleBatch, explain_conflict
from models.acquisition.earlier import inside_and_found
from models.acquisition.hit_calibration import ForecastHistory, mend
from models.acquisition.hit_counts import hit_chances
from models.acquisition.lab_rules import NO_LIMIT, LabRules
from models.acquisition.rules import measured_rows
from models.evaluation.live_curve import STEPS, live_curve
from models.objectives.measured import MeasuredObjective
from models.rounds import Pool, PoolScores, RankedCandidates, RoundRules
from models.screen import NothingLeft, ScreenError
from service.batches.documents import NUMBERS, parquet_of
from service.batches.pool import read_pool
from service.batches.repository import (
    BatchItemRepository,
    BatchRepository,
    ChosenBlock,
    RecommendationRepository,
)
from service.batches.tables import Recommendation
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.kit.outbox import emit
from service.learning.fitting import (
    Fitting,
    add_model,
    cannot_learn,
    draw_worlds,
    round_rules,
    unit_of,
)
from service.learning.objectives import beside, describe_aim, named

_INDEXED = re.compile(r"\bcompound (\d+(?:, \d+)*)")


@dataclass(frozen=True)
class _Past:
    """The number of this round, and what earlier ones took into the lab."""

    round_number: int
    chosen: list[ChosenBlock]


class RecommendJob:
    """One recommendation. Every stage is stored, so a crash costs one stage at most."""

    def __init__(self, ctx: JobContext) -> None:
        self.ctx = ctx
        self.campaign_id = str(ctx.campaign_id)
        self.plain_rules = round_rules(ctx.args["rules"])
        self.seed: int = ctx.args["seed"]
        self.started = time.perf_counter()
        self.fitting = Fitting(ctx, self.campaign_id, self.plain_rules, self.seed)

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
            emit(session, "recommendation.ready", recommendation, round=recommendation.round)
            result = {"recommendation": f"/v1/recommendations/{recommendation.id}"}
            return {**result, **({"model": f"/v1/models/{model.id}"} if model else {})}

        return self.ctx.transaction("publish", publish)

    @cached_property
    def pool(self) -> Pool:
        """What could be measured, read when it is needed."""
        with self.ctx.database.reading() as session:
            return read_pool(unit_of(self.ctx, session), self.campaign_id, self.fitting.snapshot)

    @cached_property
    def aimed(self) -> Pool:
        """Of the pool what the objective is about, all else excluded."""
        return rounds.aim_pool(self.pool, self.fitting.snapshot.screen.cell_lines, self.rules)[0]

    @cached_property
    def past(self) -> _Past:
        """What earlier rounds chose, read when it is needed."""
        with self.ctx.database.reading() as session:
            principal = unit_of(self.ctx, session).principal
            number = BatchRepository(session, principal).next_round(self.campaign_id)
            chosen = BatchItemRepository(session, principal).chosen_blocks(self.campaign_id)
        return _Past(number, chosen)

    @cached_property
    def rules(self) -> RoundRules:
        """The frozen rules, those of the laboratory with rows of the screen instead of ids."""
        lab = self.ctx.args["rules"].get("lab")
        if not lab:
            return self.plain_rules
        ids = self.fitting.snapshot.screen.compounds.ids
        rules = replace(self.plain_rules, lab=lab_rules(lab, ids))
        whole = rules.lab_rules()
        return rules if whole is None else replace(rules, batch_size=whole.asked)

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
                round_number=self.past.round_number,
                history=self._history(),
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
            words = named(str(error), self.fitting.snapshot.names)
            raise JobFailed(problem_dict("nothing-left", title, words, 409)) from None
        except InfeasibleBatch as error:
            raise self._impossible(error) from None
        except ScreenError as error:
            raise cannot_learn(error) from None
        return self._stored(scores, ranked, time.perf_counter() - selecting)

    def _stored(
        self, scores: PoolScores, ranked: RankedCandidates, select_s: float
    ) -> dict[str, Any]:
        """What publishing needs of the ranking, as JSON."""
        prepared, fitted = self.fitting.prepared, self.fitting.fitted
        aim = replace(self.fitting.aim, measured=self._measured()[0])
        candidates = self._describe(ranked, scores)
        usable = ~(self.aimed.excluded | measured_rows(self.fitting.snapshot.screen, self.pool))
        return {
            "candidates": self.ctx.artifacts.put(dump_json(candidates).encode(), "json"),
            "table": self.ctx.artifacts.put(parquet_of(candidates), "parquet"),
            "n_pool": int(np.sum(usable)),
            "n_ranked": len(candidates),
            "n_batch": int(np.sum(ranked.in_batch)),
            "step": self._step(scores),
            "calibration": _short(scores.calibration),
            "outlook": _short(scores.outlook),
            "shortfall": self._named(ranked.shortfall) or None,
            "solution": _solution(ranked),
            "objective": describe_aim(aim, self.rules, ranked, self.fitting.snapshot.names),
            "limits": limits_of(self.rules),
            "earlier": self.fitting.described_earlier,
            "curve": self._curve(scores, usable),
            "worlds": self._worlds(scores, ranked),
            "timings": {
                "prepare_s": round(prepared.seconds, 3),
                "fit_s": round(fitted.seconds, 3),
                "score_s": round(scores.seconds, 3),
                "select_s": round(select_s, 3),
                "total_s": round(time.perf_counter() - self.started, 3),
            },
        }

    def _row(self, stored: dict[str, Any], model_id: str | None, reason: str) -> Recommendation:
        kept = ("n_pool", "n_ranked", "n_batch", "timings", "candidates")
        said = ("step", "calibration", "outlook", "shortfall", "solution", "limits", "curve")
        worlds = stored.get("worlds")
        packed = None if worlds is None else b64decode(json.loads(self.ctx.artifacts.get(worlds)))
        return Recommendation(
            id=new_id("rec"),
            campaign_id=self.campaign_id,
            job_id=self.ctx.job_id,
            model_id=model_id,
            rules=self.ctx.args["rules"],
            seed=self.seed,
            reason=reason,
            table_artifact=stored["table"],
            worlds=packed,
            **{name: stored.get(name) for name in (*kept, *said, "objective", "earlier")},
        )

    def _impossible(self, error: InfeasibleBatch) -> JobFailed:
        """The rules that exclude each other, with names instead of rows."""
        screen, pool, lab = self.fitting.snapshot.screen, self.aimed, self.rules.lab_rules()
        conflicts = error.conflicts
        if lab is not None:
            measured = measured_rows(screen, pool)
            names = [self.fitting.snapshot.names[name] for name in screen.compounds.ids]
            conflicts = (
                explain_conflict(
                    pool.candidates,
                    lab,
                    pinned=pool.pinned & ~measured,
                    excluded=pool.excluded | measured,
                    names=names,
                )
                or conflicts
            )
        detail = f"{'; '.join(conflicts)}. Change the limits of the campaign, or unpin."
        title = "No batch can obey all the rules"
        return JobFailed(
            problem_dict("conflicting-rules", title, f"{detail[0].upper()}{detail[1:]}", 409)
        )

    def _history(self) -> ForecastHistory:
        """What models said of blocks that are known now, of the same objective and threshold.

        Blocks of one pair, where cell lines are compared, are one forecast.
        """
        known = self._known()
        said: dict[int, tuple[float, bool, int]] = {}
        for one in self.past.chosen:
            chance = one.predicted.get("raw_hit_probability", one.predicted.get("hit_probability"))
            same = all(
                one.rules.get(name) == self.ctx.args["rules"].get(name)
                for name in ("score", "hit_threshold", "objective")
            )
            if one.modelled and same and chance is not None and one.block in known:
                value, group = known[one.block]
                said[group] = (chance, value > self.plain_rules.hit_threshold, one.round)
        if not said:
            return ForecastHistory.none()
        chances, hits, numbers = zip(*said.values(), strict=True)
        ago = max(numbers) - np.array(numbers, dtype=np.int64)
        return ForecastHistory(np.array(chances), np.array(hits, dtype=bool), ago)

    def _measured(self) -> tuple[MeasuredObjective, MeasuredObjective]:
        """What is known of the campaign's own compounds and lines; what it measured itself."""
        blocks = self.fitting.prepared.blocks.candidates
        return inside_and_found(self.pool.earlier, self.fitting.aim.measured, blocks)

    def _known(self) -> dict[tuple[str, str, str], tuple[float, int]]:
        """The objective of every block that the campaign measured and for which it is known, by
        ids in ascending order, and the number of the candidate that the block belongs to."""
        measured, screen = self._measured()[1], self.fitting.snapshot.screen
        at = self.fitting.prepared.blocks.candidates.select(measured.rows)
        compounds, lines = screen.compounds.ids, screen.cell_lines.ids
        found: dict[tuple[str, str, str], tuple[float, int]] = {}
        for row, (one, other) in enumerate(at.compounds):
            a, b = sorted((compounds[one], compounds[other]))
            block = (a, b, lines[int(at.cell_line[row])])
            found[block] = (float(measured.value[row]), int(measured.group[row]))
        return found

    def _curve(self, scores: PoolScores, usable: Any) -> list[dict[str, Any]] | None:
        """Hits by round, against what chance would have found; nothing without a model."""
        known = self._known()
        if self.fitting.fitted.posterior is None or not known:
            return None
        number = {one.block: one.round for one in self.past.chosen}
        values, groups = (np.array(column) for column in zip(*known.values(), strict=True))
        # A pair is known from the round in which the last of its blocks was chosen.
        since = np.zeros(int(groups.max()) + 1, dtype=np.int64)
        np.maximum.at(since, groups, [number.get(block, 0) for block in known])
        entries = live_curve(
            values,
            since[groups],
            self.plain_rules.hit_threshold,
            scores.hit_probability[usable],
            hits_left=_hits_left(scores.outlook, int(usable.sum())),
        )
        return [entry.to_json() for entry in entries]

    def _worlds(self, scores: PoolScores, ranked: RankedCandidates) -> str | None:
        """Chance of a hit in each world, candidate by candidate, as half floats.

        Kept so that any selection of candidates can be counted later, without a model.
        """
        posterior, rows = self.fitting.aim.posterior, ranked.pool_index
        if posterior is None:
            return None
        at = self.pool.candidates.select(rows)
        draws, noise = draw_worlds(posterior, at, self.rules.draws, self.seed)
        chances = hit_chances(draws, self.rules.hit_threshold, noise)
        if scores.calibration is not None:
            # Every world keeps what it says of the others; on the mean it says what is stated.
            stated = np.broadcast_to(ranked.hit_probability, chances.shape)
            chances = mend(chances, chances.mean(axis=0), stated)
        packed = zlib.compress(np.ascontiguousarray(chances.T.astype("<f2")).tobytes(), 6)
        return self.ctx.artifacts.put(dump_json(b64encode(packed).decode()).encode(), "json")

    def _describe(self, ranked: RankedCandidates, scores: PoolScores) -> list[dict[str, Any]]:
        columns = {name: np.asarray(getattr(ranked, name)) for name in NUMBERS}
        raw = scores.raw_hit_probability
        return [
            {
                "rank": row + 1,
                "in_batch": bool(ranked.in_batch[row]),
                "batch_position": int(ranked.batch_position[row]) + 1 or None,
                "plate": int(ranked.plate[row]) + 1 or None,
                "pinned": bool(self.pool.pinned[at]),
                "compounds": self._compounds(at),
                "cell_line": self._cell_line(at),
                **{name: _number(column[row]) for name, column in columns.items()},
                "raw_hit_probability": None if raw is None else _number(raw[at]),
                **beside(ranked, row),
                "nearest_measured": self._nearest(int(ranked.nearest[row])),
                "reason": ranked.reason[row],
            }
            for row, at in enumerate(ranked.pool_index.tolist())
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

    def _step(self, scores: PoolScores) -> dict[str, Any] | None:
        """The step, with names in its reason."""
        if not scores.step:
            return None
        reason = named(scores.step["reason"], self.fitting.snapshot.names)
        return {**_short(scores.step), "reason": reason}

    def _named(self, text: str) -> str:
        """``text`` with names where it counts compounds by their row in the screen."""
        ids, names = self.fitting.snapshot.screen.compounds.ids, self.fitting.snapshot.names

        def spell(found: re.Match[str]) -> str:
            return ", ".join(names[ids[int(row)]] for row in found[1].split(", "))

        return _INDEXED.sub(spell, text)


def lab_rules(lab: Mapping[str, Any], ids: Sequence[str]) -> LabRules:
    """Frozen rules of the laboratory with rows of ``ids`` instead of ids."""
    row = {identifier: number for number, identifier in enumerate(ids)}
    plain = {("doses" if name == "block_doses" else name): lab[name] for name in lab}
    if "never_together" in plain:
        plain["never_together"] = [[row[one] for one in group] for group in lab["never_together"]]
    if "stock" in plain:
        plain["stock"] = {row[one]: blocks for one, blocks in lab["stock"].items()}
    return LabRules.from_dict(plain)


def limits_of(rules: RoundRules) -> dict[str, Any]:
    """What the batch obeys, as numbers; nothing stands for no limit."""
    lab = rules.lab_rules()
    if lab is None:
        return {"batch": rules.batch_size, "per_compound": rules.max_per_compound}
    numbers = asdict(lab.limits())
    if not lab.has_plates:
        numbers |= {"plates": None, "blocks": None}
    return {
        name: None if value == NO_LIMIT or value == math.inf else value
        for name, value in numbers.items()
    }


def _solution(ranked: RankedCandidates) -> dict[str, Any] | None:
    found = ranked.solution
    if found is None:
        return None
    return {
        "value": _number(found.value),
        "bound": _number(found.bound),
        "proven": found.proven,
        "method": found.method,
    }


def _hits_left(outlook: Mapping[str, Any] | None, blocks: int) -> Any:
    """Equally likely numbers of hits among ``blocks``, as the outlook has them; nothing where it
    did not count them."""
    left = None if outlook is None else outlook["left"]
    if left is None:
        return None
    normal, tail = NormalDist(), (1 - left["level"]) / 2
    # Half an interval of whole numbers on each side, measured in standard deviations.
    sd = (left["high"] - left["low"]) / (2 * normal.inv_cdf(1 - tail))
    middles = [(step + 0.5) / STEPS for step in range(STEPS)]
    values = [left["expected"] + sd * normal.inv_cdf(middle) for middle in middles]
    return np.clip(np.rint(values), 0, blocks).astype(np.int64)


def _short(value: Any) -> Any:
    """The same JSON with the numbers of :func:`_number`."""
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: Any) -> float:
    """Six significant digits: more would only be noise, and bytes."""
    return float(f"{float(value):.6g}")
