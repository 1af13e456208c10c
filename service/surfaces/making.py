"""The job: rows to blocks, blocks to surface models, the best-judged one to every surface.

Imported by workers only: it needs the models.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from sqlalchemy.orm import Session

from models.pharmacology.dose_response import CurveTable, fit_curves
from models.screen import ScreenError
from models.surfaces.blocks import Blocks, empty_blocks, gather_blocks
from models.surfaces.fitting import Plan
from models.surfaces.judging import OPERATOR, Request, fit_models, judge
from models.surfaces.masks import PATTERNS
from models.surfaces.model import SurfaceModel
from models.surfaces.next_wells import NextWells, next_wells
from models.surfaces.prediction import SurfacePrediction, SurfacePredictor
from models.surfaces.saving import save_model
from service.campaigns.schemas import MAX_BLOCK_WELLS
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.kit.outbox import emit
from service.learning.fitting import Fitting, library_versions, round_rules, unit_of
from service.surfaces.repository import SurfaceFitRepository
from service.surfaces.tables import SurfaceFit

MOST_UNMEASURED = 320_000
"""Wells of blocks without one that are given a surface, in the order of their ids: 20,000 blocks
of 4 x 4 doses."""
MOST_DOSES = 16
_AT_ONCE = 64
Grid = tuple[NDArray[np.float64], NDArray[np.float64]]
Key = tuple[int, int, int]
Mask = NDArray[np.bool_]


class SurfaceJob:
    """One fit. The snapshot and the fit are durable steps."""

    def __init__(self, ctx: JobContext) -> None:
        self.ctx = ctx
        self.campaign_id = str(ctx.campaign_id)
        self.seed: int = ctx.args["seed"]
        rules = round_rules(ctx.args["rules"])
        self.fitting = Fitting(ctx, self.campaign_id, rules, self.seed)

    def run(self) -> dict[str, Any]:
        """Fit, store and publish; the result names the fit."""
        snapshot = self.fitting.snapshot_name
        stored = self.ctx.step("surfaces", self._make)

        def publish(session: Session) -> dict[str, Any]:
            unit = unit_of(self.ctx, session)
            fit = SurfaceFit(
                id=new_id("sfc"),
                campaign_id=self.campaign_id,
                job_id=self.ctx.job_id,
                snapshot=snapshot,
                seed=self.seed,
                device=self.ctx.device,
                versions=library_versions(),
                **stored,
            )
            SurfaceFitRepository(session, unit.principal).add(fit)
            session.flush()
            emit(session, "surfaces.ready", fit, served=fit.served)
            return {"fit": f"/v1/surface-fits/{fit.id}"}

        return self.ctx.transaction("publish", publish)

    def _make(self) -> dict[str, Any]:
        screen = self.fitting.snapshot.screen
        try:
            verdict = judge(
                self._tables, self._curves, screen.cell_lines, Request(Plan(), self.seed),
                on_progress=self.ctx.progress, should_stop=self.ctx.should_stop,
            )  # fmt: skip
            models = fit_models(
                self._tables, self._curves, screen.cell_lines,
                Request(Plan(), self.seed, (OPERATOR, verdict.served)),
                on_progress=self.ctx.progress, should_stop=self.ctx.should_stop,
            )  # fmt: skip
        except ScreenError as error:
            raise _refused(str(error)) from None
        operator, served = models[OPERATOR], models[verdict.served]
        if not isinstance(operator, SurfaceModel):
            raise TypeError("the operator is no surface model")
        unmeasured, left_out = self._unmeasured
        surfaces, n_surfaces = self._surfaces(served, [*self._tables, *unmeasured])
        tensors, description = save_model(operator)
        return {
            "served": verdict.served,
            "n_blocks": sum(map(len, self._tables)),
            "n_surfaces": n_surfaces,
            "surfaces": surfaces,
            "weights": self.ctx.artifacts.put(
                save({name: each.contiguous() for name, each in tensors.items()}), "safetensors"
            ),
            "metadata_artifact": self._put(description),
            "report": {
                "evidence": verdict.report(),
                "fit": operator.report,
                "left_out": left_out,
            },
        }

    @cached_property
    def _curves(self) -> CurveTable:
        screen = self.fitting.snapshot.screen
        return fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))

    @cached_property
    def _tables(self) -> tuple[Blocks, ...]:
        """Measured blocks; the campaign's doses join a grid that has room for them."""
        wells = self.fitting.snapshot.screen.wells
        measured = gather_blocks(wells, self._curves)
        grids: dict[Key, Grid] = {}
        for blocks in measured:
            for row in range(len(blocks)):
                (a, b), line = blocks.compounds[row].tolist(), int(blocks.cell_line[row])
                both = [
                    np.union1d(own[row], self._doses[one])
                    for own, one in zip(blocks.doses, (a, b), strict=True)
                ]
                if max(map(len, both)) <= MOST_DOSES:
                    grids[(a, b, line)] = (both[0], both[1])
        return gather_blocks(wells, self._curves, grids)

    @cached_property
    def _doses(self) -> list[NDArray[np.float64]]:
        """Doses of each compound in the campaign; none for one of an earlier campaign."""
        snapshot = self.fitting.snapshot
        given = [snapshot.doses_um.get(one, []) for one in snapshot.screen.compounds.ids]
        return [np.unique(np.array(each, np.float64)) for each in given]

    @cached_property
    def _unmeasured(self) -> tuple[list[Blocks], list[str]]:
        """Blocks of the campaign without a well, by shape, and what has no surface."""
        n_lines = len(self.fitting.snapshot.screen.cell_lines)
        known = {
            (*pair, line)
            for blocks in self._tables
            for pair, line in zip(blocks.compounds.tolist(), blocks.cell_line.tolist(), strict=True)
        }
        own = [k for k, doses in enumerate(self._doses) if 0 < len(doses) <= MOST_DOSES]
        missing = [
            (a, b, line)
            for a, b in combinations(own, 2)
            for line in range(n_lines)
            if (a, b, line) not in known
        ]
        by_shape: dict[tuple[int, int], list[Key]] = defaultdict(list)
        wells = n_given = 0
        for key in missing:
            shape = (len(self._doses[key[0]]), len(self._doses[key[1]]))
            wells += shape[0] * shape[1]
            if wells > MOST_UNMEASURED:
                break
            by_shape[shape].append(key)
            n_given += 1
        left_out = self._left_out(len(missing) - n_given)
        return [self._empty(keys) for keys in by_shape.values()], left_out

    def _empty(self, keys: list[Key]) -> Blocks:
        at = np.array(keys, np.int64)
        doses = tuple(np.stack([self._doses[one] for one in at[:, side]]) for side in (0, 1))
        return empty_blocks(at[:, :2], at[:, 2], (doses[0], doses[1]), self._curves)

    def _left_out(self, n_more: int) -> list[str]:
        ids, names = self.fitting.snapshot.screen.compounds.ids, self.fitting.snapshot.names
        many = [names[ids[k]] for k, d in enumerate(self._doses) if len(d) > MOST_DOSES]
        found = [f"{name} has more than {MOST_DOSES} doses: no unmeasured block" for name in many]
        if n_more:
            found.append(f"{n_more} more blocks without a well: no surface")
        return found

    def _surfaces(self, served: SurfacePredictor, tables: list[Blocks]) -> tuple[str, int]:
        """Every surface, an artifact for each cell line; the artifact that names them."""
        by_line: dict[int, list[dict[str, Any]]] = defaultdict(list)
        total, done = sum(map(len, tables)), 0
        for blocks in tables:
            for start in range(0, len(blocks), _AT_ONCE):
                self.ctx.raise_if_stopped()
                self.ctx.progress("predicting surfaces", done, total)
                some = blocks.select(np.arange(start, min(start + _AT_ONCE, len(blocks))))
                said = served.predict(some)
                bands = [said.band(level) for level in (0.5, 0.9)]
                for row in range(len(some)):
                    described = self._describe(some, said, bands, row)
                    by_line[int(some.cell_line[row])].append(described)
                done += len(some)
        lines = self.fitting.snapshot.screen.cell_lines.ids
        index = [
            {**self._named(lines[line]), "blocks": self._put(by_line[line])}
            for line in sorted(by_line)
        ]
        return self._put(index), total

    def _describe(
        self, blocks: Blocks, said: SurfacePrediction, bands: list[Any], row: int
    ) -> dict[str, Any]:
        screen = self.fitting.snapshot.screen
        pair, line = blocks.compounds[row].tolist(), int(blocks.cell_line[row])
        seen = blocks.measured[row]
        ends = {
            f"{side}_{percent}": _grid(band[k][row])
            for percent, band in zip((50, 90), bands, strict=True)
            for k, side in enumerate(("low", "high"))
        }
        offered = self._offered(blocks, row)
        diagonal = _diagonal(offered) & ~seen
        return {
            "compounds": [self._named(screen.compounds.ids[one]) for one in pair],
            "cell_line": self._named(screen.cell_lines.ids[line]),
            "doses_um": [doses[row].tolist() for doses in blocks.doses],
            "margins": [_rounded(margin[row]) for margin in blocks.margins],
            "margins_measured": [bool(self._curves.measured[one, line]) for one in pair],
            "bliss": _grid(blocks.reference[row]),
            "mean": _grid(said.mean[row]),
            **ends,
            "measured": [
                [round(v, 4) if known else None for v, known in zip(values, mask, strict=True)]
                for values, mask in zip(blocks.viability[row].tolist(), seen, strict=True)
            ],
            "n_wells": blocks.n_wells[row].tolist(),
            "next_wells": _wells(
                blocks, row, next_wells(said, row, MAX_BLOCK_WELLS, np.outer(*offered) & ~seen)
            ),
            "next_diagonal": _wells(blocks, row, next_wells(said, row, MOST_DOSES, diagonal)),
        }

    def _offered(self, blocks: Blocks, row: int) -> tuple[Mask, Mask]:
        """Which doses of either compound the campaign can dispense; all, of one that it lacks."""
        found = []
        for compound, doses in zip(blocks.compounds[row].tolist(), blocks.doses, strict=True):
            own = self._doses[compound]
            found.append(np.isin(doses[row], own) if len(own) else np.ones(len(doses[row]), bool))
        return found[0], found[1]

    def _named(self, identifier: str) -> dict[str, str]:
        return {"id": identifier, "name": self.fitting.snapshot.names[identifier]}

    def _put(self, document: Any) -> str:
        return self.ctx.artifacts.put(dump_json(document).encode(), "json")


def _diagonal(offered: tuple[Mask, Mask]) -> Mask:
    """The wells of the diagonal of those doses, ``(m, n)``."""
    mask = np.zeros((len(offered[0]), len(offered[1])), bool)
    at = np.ix_(*offered)
    shape = (int(offered[0].sum()), int(offered[1].sum()))
    if min(shape):
        mask[at] = PATTERNS["diagonal"](shape, np.random.default_rng(0))
    return mask


def _wells(blocks: Blocks, row: int, chosen: NextWells) -> list[dict[str, Any]]:
    return [
        {
            "row": i,
            "column": j,
            "doses_um": [float(blocks.doses[0][row, i]), float(blocks.doses[1][row, j])],
            "taken": round(taken, 4),
            "sd_left": round(left, 4),
        }
        for i, j, taken, left in zip(
            chosen.rows.tolist(), chosen.columns.tolist(), chosen.taken.tolist(),
            chosen.left.tolist(), strict=True,
        )
    ]  # fmt: skip


def _grid(values: NDArray[np.float64]) -> list[list[float]]:
    return [_rounded(row) for row in values]


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _refused(why: str) -> JobFailed:
    title = "There is nothing to learn surfaces from"
    return JobFailed(problem_dict("cannot-learn", title, f"{why[0].upper()}{why[1:]}.", 409))
