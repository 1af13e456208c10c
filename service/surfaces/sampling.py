"""The job that draws what was not measured of one block. Imported by workers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.screen import ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.filling import fill_in
from service.kit.jobs import JobFailed, problem_dict
from service.surfaces.making import SurfaceJob


class SampleJob(SurfaceJob):
    """The same blocks as a fit of surfaces has; a sampler of them instead of an operator."""

    def run(self) -> dict[str, Any]:
        """Fit, judge and draw, durably; the result holds the samples themselves."""
        return {"samples": self.ctx.step("samples", self._sample)}

    def _sample(self) -> dict[str, Any]:
        asked = self._asked()
        tables = [blocks.select(blocks.touched) for blocks in self._tables]
        try:
            found = fill_in(
                tables, self._curves.noise, asked, draws=self.ctx.args["draws"], seed=self.seed,
                on_progress=self.ctx.progress, should_stop=self.ctx.should_stop,
            )  # fmt: skip
        except ScreenError as error:
            raise _refused(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
        screen, said = self.fitting.snapshot.screen, found.report()
        (block,) = said.pop("blocks")
        named = {
            "compounds": [self._named(screen.compounds.ids[one]) for one in block["compounds"]],
            "cell_line": self._named(screen.cell_lines.ids[block["cell_line"]]),
        }
        return {**said, **block, **named}

    def _asked(self) -> Blocks:
        """The block by its ids; it must have a well."""
        screen, args = self.fitting.snapshot.screen, self.ctx.args
        try:
            pair = sorted(screen.compounds.ids.index(one) for one in args["compounds"])
            line = screen.cell_lines.ids.index(args["cell_line"])
        except ValueError:
            pair, line = [-1, -1], -1
        for blocks in self._tables:
            same = (blocks.compounds == pair).all(axis=1) & (blocks.cell_line == line)
            rows = np.flatnonzero(same & blocks.measured.any(axis=(1, 2)))
            if len(rows):
                return blocks.select(rows[:1])
        raise _refused(
            "No well of this pair in this cell line is measured: there is nothing to draw others "
            "from. The surfaces of a fit say what to expect of it."
        )


def _refused(why: str) -> JobFailed:
    return JobFailed(problem_dict("cannot-sample", "There is nothing to sample from", why, 409))
