"""Does a new campaign find more at once when it learns from an earlier one? On the O'Neil screen.

    python -m benchmarks.cold_start [--data DIR] [--seeds 3] [--rounds 4] [--json OUT]

An earlier campaign measured a tenth of the blocks in ten cell lines. A new one has the same
compounds in five of these lines and in five others; what is measured already is no find of it.
All campaigns take as many blocks a round (1 % of theirs); single agents are known. Arms, paired by
seed, which also draws the lines:

    none      its own measurements only: the first round is random
    inside    beside them, of the earlier campaign, what is of its own lines
    all       everything that the earlier campaign measured
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from models.evaluation.metrics import top_share_found
from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.evaluation.past_campaign import PastCampaign
from models.evaluation.replay import play_round
from models.evaluation.study import fingerprints_of
from models.objectives.scores import Blocks, measure_blocks
from models.rounds import RoundRules
from models.screen import Candidates, FloatArray, IntArray, Screen, Wells

Bits = NDArray[np.uint8]
ARMS = ("none", "inside", "all")
LINES, SHARED, MEASURED, ROUND = 10, 5, 0.1, 0.01
"""Lines of each campaign, lines that both have, share that the earlier one measured, share that a
round of the new one takes."""


def of_lines(folder: ScreenFolder, lines: IntArray) -> ScreenFolder:
    """The same screen as if only these cell lines had been measured."""
    row = np.full(len(folder.cell_line_names), -1, dtype=np.int64)
    row[lines] = np.arange(len(lines))
    kept = np.flatnonzero(row[folder.blocks.cell_line] >= 0)
    renamed = np.full(len(folder.blocks), -1)
    renamed[kept] = np.arange(len(kept))
    wells = row[folder.combinations.cell_line] >= 0

    def moved(chosen: Wells) -> Wells:
        return replace(chosen, cell_line=row[chosen.cell_line])

    return replace(
        folder,
        cell_line_names=tuple(folder.cell_line_names[line] for line in lines),
        features=folder.features[lines],
        has_features=folder.has_features[lines],
        singles=moved(folder.singles.select(row[folder.singles.cell_line] >= 0)),
        combinations=moved(folder.combinations.select(wells)),
        blocks=Candidates(folder.blocks.compounds[kept], row[folder.blocks.cell_line[kept]]),
        block=renamed[folder.block[wells]],
    )


class Laboratory:
    """One draw of lines: what the earlier campaign measured, and the new one in each arm."""

    def __init__(self, folder: ScreenFolder, bits: Bits, score: str, seed: int) -> None:
        random = np.random.default_rng([seed, 20])
        lines = random.permutation(len(folder.cell_line_names))[: 2 * LINES - SHARED]
        self.folder, self.bits, self.score = folder, bits, score
        self.whole = of_lines(folder, np.sort(lines))
        place = {name: row for row, name in enumerate(self.whole.cell_line_names)}
        names = [folder.cell_line_names[line] for line in lines]
        self.before = np.array([place[name] for name in names[:LINES]])
        self.now = np.sort([place[name] for name in names[LINES - SHARED :]])
        at = np.flatnonzero(np.isin(self.whole.blocks.cell_line, self.before))
        self.earlier = random.permutation(at)[: round(MEASURED * len(at))]

    def campaign(self, arm: str) -> PastCampaign:
        """The new campaign, in which the wells of ``arm`` are known from the start."""
        whole, blocks = self.whole, self._scored()
        known = self.earlier
        if arm == "none":
            known = known[:0]
        elif arm == "inside":
            known = known[np.isin(whole.blocks.cell_line[known], self.now)]
        lines = self.now if arm != "all" else np.arange(len(whole.cell_line_names))
        shown = of_lines(whole, lines)
        n = len(whole.compound_names)
        row = np.full(len(whole.cell_line_names), -1, dtype=np.int64)
        row[lines] = np.arange(len(lines))
        inside = Candidates(blocks.candidates.compounds, row[blocks.candidates.cell_line])
        where = _rows(shown.blocks.keys(n), inside.keys(n))
        told = Candidates(whole.blocks.compounds[known], row[whole.blocks.cell_line[known]])
        always = _rows(shown.blocks.keys(n), told.keys(n))

        def reveal(rows: IntArray) -> Screen:
            return shown.screen(np.concatenate([where[rows], always]), self.bits)

        return PastCampaign(inside, blocks.score, blocks.score, reveal)

    def _scored(self) -> Blocks:
        """All blocks that the new campaign could find."""
        blocks = measure_blocks(self.whole.screen(None, self.bits), self.score)
        n = len(self.whole.compound_names)
        done = self.whole.blocks.select(self.earlier).keys(n)
        free = np.isin(blocks.candidates.cell_line, self.now)
        free &= ~np.isin(blocks.candidates.keys(n), done)
        return replace(blocks, candidates=blocks.candidates.select(free), score=blocks.score[free])


def _rows(known: IntArray, wanted: IntArray) -> IntArray:
    order = np.argsort(known, kind="stable")
    return np.asarray(order[np.searchsorted(known, wanted, sorter=order)], dtype=np.int64)


def play(
    campaign: PastCampaign, arm: str, rules: RoundRules, rounds: int, seed: int
) -> list[float]:
    """Share of the best 1 % found after each round."""
    measured = np.empty(0, dtype=np.int64)
    found = []
    for number in range(1, rounds + 1):
        if arm == "none" and number == 1:
            order = np.random.default_rng(seed).permutation(len(campaign.candidates))
            chosen = order[: rules.batch_size]
        else:
            chosen = play_round(
                campaign, rules, measured, seed + 1000 * number, round_number=number
            ).chosen
        measured = np.concatenate([measured, chosen])
        found.append(top_share_found(campaign.truth, measured, 0.01))
    return found


def compare(folder: ScreenFolder, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """For each arm the shares found, seed by seed, round by round."""
    bits = fingerprints_of(folder)
    found: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    for seed in range(options.seeds):
        laboratory = Laboratory(folder, bits, options.score, seed)
        for arm in ARMS:
            campaign, started = laboratory.campaign(arm), time.process_time()
            size = round(ROUND * len(campaign.candidates))
            rules = RoundRules(
                score=options.score, batch_size=size, model=options.model, hit_threshold=10.0
            )
            shares = play(campaign, arm, rules, options.rounds, seed)
            found[arm].append(shares)
            shown = " ".join(f"{share:.3f}" for share in shares)
            spent = time.process_time() - started
            print(f"seed {seed}, {arm:6}: {shown}  ({size} a round, {spent:.0f} CPU-s)", flush=True)
    return found


def report(found: dict[str, list[list[float]]]) -> list[str]:
    """Means over seeds, and the paired differences from starting with nothing."""
    lines = ["arm     " + "".join(f"  round {n + 1}" for n in range(len(found["none"][0])))]
    lines += [f"{arm:8}" + _cells(np.mean(found[arm], axis=0), "{:9.3f}") for arm in ARMS]
    for arm in ARMS[1:]:
        gain = np.array(found[arm]) - np.array(found["none"])
        low = gain.min(axis=0)
        lines.append(f"{arm:6} +" + _cells(gain.mean(axis=0), "{:+9.3f}") + "  mean over seeds")
        lines.append("        " + _cells(low, "{:+9.3f}") + "  in the worst seed")
    return lines


def _cells(values: FloatArray | Sequence[float], form: str) -> str:
    return "".join(form.format(value) for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--score", default="bliss_mean")
    parser.add_argument("--model", default="gp_pairs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(describe())
    found = compare(load_oneil_layout(options.data), options)
    print("\n".join(report(found)))
    if options.json is not None:
        said: dict[str, Any] = {"score": options.score, "model": options.model, "found": found}
        options.json.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
