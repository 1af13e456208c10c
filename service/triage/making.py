"""The job: rows to blocks, blocks to a card, the card to points of what is not measured yet.

Imported by workers only: it needs the models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from models import rounds
from models.rounds import Aim, Fitted, Pool
from models.screen import Candidates, ScreenError
from models.triage.attributes import Attributes, describe_compounds
from models.triage.describing import CardNames, describe_card, describe_scores
from models.triage.features import BlockTable, SingleAgents, describe_blocks
from models.triage.making import Made, make_scorecard, why_no_card
from models.triage.propensity import (
    Weights,
    estimate_propensity,
    inverse_propensity_weights,
)
from service.batches.documents import load_candidates
from service.batches.pool import read_pool
from service.batches.repository import BatchItemRepository
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.kit.outbox import emit
from service.learning.fitting import Fitting, library_versions, round_rules, unit_of
from service.triage.repository import ChoiceRepository, TriageCardRepository
from service.triage.tables import TriageCard

KEPT = 5_000
"""Candidates whose points are stored, the best ones."""
_AT_ONCE = 100_000
Block = tuple[str, str, str]


@dataclass(frozen=True)
class Chosen:
    """What a model said of the candidates of one round, and which of them went to the lab."""

    blocks: list[Block]
    chance: NDArray[np.float64]
    chosen: NDArray[np.bool_]


class TriageJob:
    """One scorecard. The snapshot is a durable step; the rest takes seconds and is made anew."""

    def __init__(self, ctx: JobContext) -> None:
        self.ctx = ctx
        self.campaign_id = str(ctx.campaign_id)
        self.seed: int = ctx.args["seed"]
        rules = round_rules(ctx.args["rules"])
        self.fitting = Fitting(ctx, self.campaign_id, rules, self.seed)

    def run(self) -> dict[str, Any]:
        """Make, store and publish; the result names the card."""
        stored = self.ctx.step("card", self._make)

        def publish(session: Session) -> dict[str, Any]:
            unit = unit_of(self.ctx, session)
            card = TriageCard(
                id=new_id("trg"),
                campaign_id=self.campaign_id,
                job_id=self.ctx.job_id,
                snapshot=self.fitting.snapshot_name,
                seed=self.seed,
                versions=library_versions(),
                **stored,
            )
            TriageCardRepository(session, unit.principal).add(card)
            session.flush()
            emit(session, "triage.ready", card, n_hits=card.n_hits)
            return {"card": f"/v1/triage-cards/{card.id}"}

        return self.ctx.transaction("publish", publish)

    def _make(self) -> dict[str, Any]:
        rules, aim = self.fitting.rules, self._aim
        try:
            sought = aim.measured.by_block()
            known = np.flatnonzero(np.isfinite(sought))
            hit = sought[known] > rules.hit_threshold
            why = why_no_card(hit)
            if why is not None:
                raise _refused(why)
            made = make_scorecard(
                self._table(self.fitting.prepared.blocks.candidates.select(known)),
                hit,
                seed=self.seed,
                weights=self._weights(known),
                rounds=self._rounds[known],
                on_progress=self.ctx.progress,
                should_stop=self.ctx.should_stop,
            )
        except ScreenError as error:
            raise _refused(str(error)) from None
        self.ctx.progress("scoring candidates", 0, 1)
        scores, n_scored = self._scores(made)
        return {
            "score": rules.score if rules.seeks_score else str(aim.objective.kind),
            "hit_threshold": rules.hit_threshold,
            "n_blocks": made.report["n_blocks"],
            "n_hits": made.report["n_hits"],
            "n_scored": n_scored,
            "report": made.report,
            "card": self._put(describe_card(made.card, self._names)),
            "scores": self._put(scores),
        }

    @cached_property
    def _aim(self) -> Aim:
        """What the campaign looks for, as measured: no model is fitted."""
        without = Fitted(None, {}, "", 0.0)
        fitting = self.fitting
        return rounds.aim_of(fitting.snapshot.screen, fitting.prepared, without, fitting.rules)

    @cached_property
    def _attributes(self) -> Attributes:
        return describe_compounds(self.fitting.snapshot.screen.compounds)

    @cached_property
    def _single(self) -> SingleAgents:
        screen, curves = self.fitting.snapshot.screen, self.fitting.prepared.curves
        if not curves.measured.any():
            return SingleAgents.none(len(screen.compounds), len(screen.cell_lines))
        return SingleAgents.of_screen(screen.wells, curves)

    @cached_property
    def _names(self) -> CardNames:
        snapshot = self.fitting.snapshot
        compounds, lines = (
            [snapshot.names[one] for one in ids]
            for ids in (snapshot.screen.compounds.ids, snapshot.screen.cell_lines.ids)
        )
        return CardNames.of(compounds, lines, self._attributes)

    @cached_property
    def _blocks(self) -> list[Block]:
        """Ids of every measured block with a score."""
        return self._ids(self.fitting.prepared.blocks.candidates)

    @cached_property
    def _rounds(self) -> NDArray[np.int64]:
        """Round in which each measured block was chosen; 0 where no recommendation chose it."""
        with self.ctx.database.reading() as session:
            principal = unit_of(self.ctx, session).principal
            chosen = BatchItemRepository(session, principal).chosen_blocks(self.campaign_id)
        number = {one.block: one.round for one in chosen}
        return np.array([number.get(block, 0) for block in self._blocks], dtype=np.int64)

    def _table(self, candidates: Candidates) -> BlockTable:
        return describe_blocks(candidates, self._attributes, self._single)

    def _ids(self, candidates: Candidates) -> list[Block]:
        screen = self.fitting.snapshot.screen
        compounds, lines = screen.compounds.ids, screen.cell_lines.ids
        return [
            (*sorted((compounds[a], compounds[b])), lines[line])
            for (a, b), line in zip(
                candidates.compounds.tolist(), candidates.cell_line.tolist(), strict=True
            )
        ]

    def _weights(self, known: NDArray[np.int64]) -> Weights:
        """Of blocks that a model chose, by the inverse of how likely that was; 1 for others."""
        share, propensity = np.ones(len(self._blocks)), np.ones(len(self._blocks))
        row = {block: number for number, block in enumerate(self._blocks)}
        for one in self._choices():
            try:
                likely = estimate_propensity(_log_odds(one.chance)[:, None], one.chosen)
            except ScreenError:
                continue  # a round too small to say how it was chosen counts as it is
            for at in np.flatnonzero(one.chosen).tolist():
                if one.blocks[at] in row:
                    propensity[row[one.blocks[at]]] = likely[at]
                    share[row[one.blocks[at]]] = one.chosen.mean()
        return inverse_propensity_weights(propensity[known], share[known])

    def _choices(self) -> Sequence[Chosen]:
        """What earlier recommendations that a model made had ranked, and what was taken."""
        found = []
        with self.ctx.database.reading() as session:
            principal = unit_of(self.ctx, session).principal
            items = BatchItemRepository(session, principal).chosen_blocks(self.campaign_id)
            modelled = ChoiceRepository(session, principal).modelled(self.campaign_id)
        for number, candidates in modelled:
            taken = {one.block for one in items if one.round == number}
            ranked = load_candidates(self.ctx.artifacts.get(candidates))
            found.append(_chosen(ranked, taken))
        return found

    def _scores(self, made: Made) -> tuple[list[dict[str, Any]], int]:
        """The best candidates as they are stored, and how many have points."""
        candidates = self._candidates()
        total = np.zeros(len(candidates), np.int64)
        for start in range(0, len(candidates), _AT_ONCE):
            rows = np.arange(start, min(start + _AT_ONCE, len(candidates)))
            points = made.card.points(self._table(candidates.select(rows)))
            total[rows] = made.card.base + points.sum(axis=1)
        best = candidates.select(np.argsort(-total, kind="stable")[:KEPT])
        table = self._table(best)
        described = describe_scores(made.card, table, made.card.score(table), self._names)
        names = self.fitting.snapshot.names
        return [
            {
                "compounds": [{"id": one, "name": names[one]} for one in block[:2]],
                "cell_line": {"id": block[2], "name": names[block[2]]},
                **said,
            }
            for block, said in zip(self._ids(best), described, strict=True)
        ], len(candidates)

    def _candidates(self) -> Candidates:
        """What could be measured and is neither measured, banned nor in the lab."""
        screen = self.fitting.snapshot.screen
        with self.ctx.database.reading() as session:
            pool: Pool = read_pool(
                unit_of(self.ctx, session), self.campaign_id, self.fitting.snapshot
            )
        n = len(screen.compounds)
        pairs = screen.wells.select(screen.wells.n_compounds == 2)
        measured = Candidates(pairs.compounds[:, :2], pairs.cell_line).keys(n)
        return pool.candidates.select(~pool.excluded & ~np.isin(pool.candidates.keys(n), measured))

    def _put(self, document: Any) -> str:
        return self.ctx.artifacts.put(dump_json(document).encode(), "json")


def _chosen(ranked: Sequence[dict[str, Any]], taken: set[Block]) -> Chosen:
    blocks, chances = [], []
    for row in ranked:
        a, b = sorted(one["id"] for one in row["compounds"])
        blocks.append((a, b, row["cell_line"]["id"]))
        raw = row.get("raw_hit_probability")
        chances.append(row["hit_probability"] if raw is None else raw)
    chosen = np.array([block in taken for block in blocks], dtype=bool)
    return Chosen(blocks, np.array(chances, dtype=np.float64), chosen)


def _log_odds(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.clip(chance, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(held / (1 - held)), dtype=np.float64)


def _refused(why: str) -> JobFailed:
    title = "There is nothing to make a scorecard from"
    return JobFailed(problem_dict("cannot-triage", title, f"{why[0].upper()}{why[1:]}.", 409))
