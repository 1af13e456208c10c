"""A campaign, step by step, as a lab's own program would drive it over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.demo.client import Api, job_failure
from service.demo.console import Show
from service.demo.labs import SCORE, Block, DemoError, Lab, Table
from service.demo.plan import Plan
from service.demo.tables import batch_table, first_reason


@dataclass(frozen=True)
class RoundLog:
    """One round as it went."""

    blocks: list[Block]
    forecast_hits: float
    """Hits that the model expected among them: the sum of their probabilities."""
    seconds: float
    model: str | None
    """Path of the model that chose the blocks; ``None`` in a round without one."""


@dataclass
class Player:
    """One campaign. Call :meth:`set_up`, then :meth:`play_round` as often as there are rounds."""

    api: Api
    lab: Lab
    plan: Plan
    show: Show
    campaign: str = ""
    """Path of the campaign, once it is open."""
    initial: list[Block] = field(default_factory=list)
    _ids: dict[str, str] = field(default_factory=dict)
    """The service's id of each compound and cell line, by the lab's name."""
    _names: dict[str, str] = field(default_factory=dict)

    def set_up(self) -> None:
        """Register everything, open the campaign, submit what is known at the beginning."""
        self._register_compounds()
        self._register_cell_lines()
        self._names = {identifier: name for name, identifier in self._ids.items()}
        self._open()
        self._ban(self.lab.missing)
        self._submit_single_agents()
        self._submit_initial()

    def play_round(self, number: int) -> RoundLog:
        """Ask what to measure, show it, measure it, hand the results in."""
        began = time.perf_counter()
        recommendation = self._recommend(number)
        self.show.table(batch_table(recommendation))
        self.show.say(first_reason(recommendation), "dim")
        blocks = self._run_batch(recommendation)
        model = recommendation["model_id"]
        path = None if model is None else f"/v1/models/{model}"
        forecast = _forecast_hits(recommendation)
        return RoundLog(blocks, forecast, time.perf_counter() - began, path)

    def _register_compounds(self) -> None:
        shelf = self.lab.compounds
        with self.show.step(f"registering {len(shelf)} compounds with their structures") as step:
            body = [{"name": c.name, "smiles": c.smiles} for c in shelf]
            answer = self.api.post("/v1/compounds", {"compounds": body}).json()
            for compound, item in zip(shelf, answer["items"], strict=True):
                self._ids[compound.name] = item["compound"]["id"]
            known = f" ({answer['existing']} were known)" if answer["existing"] else ""
            step.result = f"{len(shelf)} compounds registered with their structures{known}"

    def _register_cell_lines(self) -> None:
        lines = self.lab.cell_lines
        with self.show.step(f"registering {len(lines)} cell lines") as step:
            body = [{"name": line.name, "features": line.features} for line in lines]
            answer = self.api.post("/v1/cell-lines", {"cell_lines": body}).json()
            for line, item in zip(lines, answer["items"], strict=True):
                self._ids[line.name] = item["id"]
            step.result = f"{len(lines)} cell lines registered, {_describe_features(lines)}"

    def _open(self) -> None:
        ids, lab = self._ids, self.lab
        pairs = None if lab.pairs is None else [[ids[a], ids[b]] for a, b in lab.pairs]
        body = {
            "name": "Demo campaign",
            "note": f"Made by nextround demo: {lab.title}",
            "compounds": [{"compound": ids[c.name], "doses_um": c.doses_um} for c in lab.compounds],
            "cell_lines": [ids[line.name] for line in lab.cell_lines],
            "pairs": pairs,
            "objective": {"score": SCORE, "hit_threshold": lab.hit_threshold},
            "limits": {
                "batch_size": self.plan.batch,
                "max_per_compound": self.plan.max_per_compound,
            },
        }
        with self.show.step("opening the campaign") as step:
            campaign = self.api.post("/v1/campaigns", body).json()
            self.campaign = f"/v1/campaigns/{campaign['id']}"
            step.result = (
                f"campaign opened: {campaign['n_pairs']:,} pairs, batches of {self.plan.batch}, "
                f"at most {self.plan.max_per_compound} with one compound"
            )

    def _ban(self, blocks: Sequence[Block]) -> None:
        if not blocks:
            return
        marks = [
            {
                "mark": "ban",
                "compounds": [self._ids[block.first], self._ids[block.second]],
                "cell_line": self._ids[block.cell_line],
                "reason": "This lab cannot measure it.",
            }
            for block in blocks
        ]
        with self.show.step(f"{len(marks)} blocks banned that this lab cannot measure"):
            self.api.post(f"{self.campaign}/marks", {"marks": marks})

    def _submit_single_agents(self) -> None:
        with self.show.step("submitting single-agent wells as CSV") as step:
            stored = self._submit(self.lab.single_agents())
            step.result = f"{stored:,} single-agent wells submitted as CSV"

    def _submit_initial(self) -> None:
        self.initial = self.plan.choose_initial(sorted(self.lab.true_scores))
        with self.show.step("measuring random blocks to begin with") as step:
            stored = self._submit(self.lab.measure(self.initial))
            step.result = (
                f"{len(self.initial)} random blocks measured and submitted, {stored:,} wells"
            )

    def _submit(self, table: Table) -> int:
        answer = self.api.post_csv(f"{self.campaign}/submissions", table.csv, **table.says).json()
        stored = int(answer["n_measurements"])
        if answer["outcome"] != "stored" or stored != table.n_wells:
            raise DemoError(
                f"{table.n_wells:,} wells were submitted; the service answered "
                f"{answer['outcome']!r} with {stored:,}."
            )
        return stored

    def _recommend(self, number: int) -> dict[str, Any]:
        """Ask what to measure and wait for the answer."""
        body = {"seed": self.plan.seed + number}
        job = self.api.post(f"{self.campaign}/recommendations", body).json()
        with self.show.following("asking what to measure", self.api.follow(job["id"])) as step:
            job = self.api.get(f"/v1/jobs/{job['id']}")
            if job["status"] != "succeeded":
                raise job_failure(job)
            recommendation: dict[str, Any] = self.api.get(job["result"]["recommendation"])
            step.result = _describe_recommendation(recommendation)
        self.show.say(recommendation["reason"])
        return recommendation

    def _run_batch(self, recommendation: Mapping[str, Any]) -> list[Block]:
        """Accept the batch, measure it, hand the results in, and say that it is done."""
        with self.show.step("accepting the batch") as step:
            body = {"recommendation_id": recommendation["id"]}
            answer = self.api.post(f"{self.campaign}/batches", body)
            batch = answer.json()
            path = f"/v1/batches/{batch['id']}"
            running = self.api.patch(path, answer.headers["ETag"], {"status": "running"})
            blocks = [self._block_of(item) for item in batch["items"]]
            short = self.plan.batch - len(blocks)
            why = recommendation.get("shortfall") or "the limits allow no more"
            missing = f" ({short} fewer than asked for: {why})" if short else ""
            step.result = f"batch of {len(blocks)} accepted and in the lab{missing}"
        with self.show.step("measuring") as step:
            stored = self._submit(self.lab.measure(blocks))
            done = self.api.patch(path, running.headers["ETag"], {"status": "done"}).json()
            if done["n_with_results"] != len(blocks):
                raise DemoError(
                    f"{len(blocks)} blocks were measured; the service knows results of "
                    f"{done['n_with_results']}."
                )
            step.result = f"{len(blocks)} blocks measured, {stored:,} wells submitted, batch done"
        return blocks

    def _block_of(self, item: Mapping[str, Any]) -> Block:
        one, other = (self._names[compound["id"]] for compound in item["compounds"])
        return Block.of(one, other, self._names[item["cell_line"]["id"]])


def _forecast_hits(recommendation: Mapping[str, Any]) -> float:
    batch = (row for row in recommendation["candidates"] if row["in_batch"])
    return float(sum(row["hit_probability"] for row in batch))


def _describe_features(lines: Iterable[Any]) -> str:
    counts = [len(line.features) for line in lines if line.features]
    without = sum(1 for line in lines if not line.features)
    some = f"{max(counts):,} features each" if counts else "without features"
    return f"{some} ({without} without)" if counts and without else some


def _describe_recommendation(recommendation: Mapping[str, Any]) -> str:
    timings = recommendation["timings"]
    parts = [
        f"{label} {timings[name]:.1f} s"
        for name, label in (
            ("prepare_s", "curves"),
            ("fit_s", "model"),
            ("score_s", "scoring"),
        )
        if name in timings
    ]
    return f"{recommendation['n_pool']:,} candidates ranked ({', '.join(parts)})"
