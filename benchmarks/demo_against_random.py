"""How typical the demo is: its campaign on many simulated labs, beside chance.

    python -m benchmarks.demo_against_random [--seeds 8] [--rounds 3] [--batch 96]

Plays what ``nextround demo --seed S`` plays, through ``run_round`` and without the service: the
same lab, first blocks, limits and seeds. Prints how many of the best 1 % and of the hits the
rounds found, as a multiple of what chance finds.
"""

from __future__ import annotations

import argparse
import csv
import io
import time

import numpy as np
import torch

from benchmarks.machine import describe
from models.chemistry.fingerprints import fingerprint
from models.chemistry.structures import standardise
from models.evaluation.oneil import join_wells
from models.rounds import Pool, RoundRules, run_round
from models.screen import ABSENT, Candidates, CellLineTable, CompoundTable, Screen, Wells
from service.demo.labs import SCORE, Block, Table
from service.demo.plan import Plan
from service.demo.report import Tally, know, tally
from service.demo.simulated import SimulatedLab


def main() -> None:
    """Play and print."""
    options = parse()
    torch.set_num_threads(options.threads)
    print(describe())
    played = []
    for seed in range(options.seeds):
        started = time.perf_counter()
        played.append(play(Plan(options.rounds, options.batch, seed), options.acquisition))
        print_row(seed, played[-1], time.perf_counter() - started)
    for name, label in (("top", "best 1 %"), ("hits", "hits")):
        times = [getattr(row.total, name).times_chance for row in played]
        spread = f"median {np.median(times):.1f}, {min(times):.1f} to {max(times):.1f}"
        print(f"{label}: {spread} times what chance finds")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--acquisition", default="hit_probability")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def play(plan: Plan, acquisition: str) -> Tally:
    """The demo's campaign of this plan, counted."""
    lab = SimulatedLab(seed=plan.seed)
    rules = RoundRules(
        score=SCORE,
        hit_threshold=lab.hit_threshold,
        batch_size=plan.batch,
        max_per_compound=plan.max_per_compound,
        acquisition=acquisition,
    )
    blocks = sorted(lab.true_scores)
    initial, rounds = plan.choose_initial(blocks), []
    single = wells_of(lab.single_agents(), lab)
    wells = join_wells(single, wells_of(lab.measure(initial), lab))
    pool = Pool.of(candidates_of(blocks, lab))
    for number in range(1, plan.rounds + 1):
        result = run_round(screen_of(lab, wells), pool, rules, plan.seed + number)
        rounds.append([blocks[row] for row in result.ranked.batch])
        wells = join_wells(wells, wells_of(lab.measure(rounds[-1]), lab))
    return tally(know(lab.true_scores, lab.hit_threshold), initial, rounds)


def screen_of(lab: SimulatedLab, wells: Wells) -> Screen:
    """The wells with the structures and features that the demo registers."""
    bits = np.array([fingerprint(standardise(c.smiles).parent_smiles) for c in lab.compounds])
    features = np.array([list(line.features.values()) for line in lab.cell_lines])
    compounds = CompoundTable(names(lab.compounds), bits, np.ones(len(bits), bool))
    return Screen(
        compounds,
        CellLineTable(names(lab.cell_lines), features, np.ones(len(features), bool)),
        wells,
    )


def candidates_of(blocks: list[Block], lab: SimulatedLab) -> Candidates:
    """The blocks by position."""
    compound, line = positions(lab)
    columns = [(compound[b.first], compound[b.second], line[b.cell_line]) for b in blocks]
    return Candidates.of(*np.array(columns, dtype=np.int64).T)


def wells_of(table: Table, lab: SimulatedLab) -> Wells:
    """The wells of a table as the service reads them."""
    compound, line = positions(lab)
    rows = list(csv.DictReader(io.StringIO(table.csv)))
    slots, doses = np.full((len(rows), 3), ABSENT, np.int64), np.zeros((len(rows), 3))
    for row, cells in enumerate(rows):
        pairs = [(cells.get(f"compound_{k}"), cells.get(f"dose_{k}_um")) for k in (1, 2)]
        for place, (name, dose) in enumerate(sorted(pair for pair in pairs if pair[0])):
            slots[row, place], doses[row, place] = compound[name], float(dose)
    return Wells(
        np.array([line[cells["cell_line"]] for cells in rows], np.int64),
        slots,
        doses,
        np.array([float(cells["viability_fraction"]) for cells in rows]),
    )


def positions(lab: SimulatedLab) -> tuple[dict[str, int], dict[str, int]]:
    """Compounds and cell lines by name."""
    compounds = {name: row for row, name in enumerate(names(lab.compounds))}
    return compounds, {name: row for row, name in enumerate(names(lab.cell_lines))}


def names(things) -> tuple[str, ...]:
    """What the lab calls them."""
    return tuple(thing.name for thing in things)


def print_row(seed: int, counted: Tally, seconds: float) -> None:
    """One lab."""
    top, hits = counted.total.top, counted.total.hits
    by_round = ", ".join(str(row.top.n_found) for row in counted.rounds)
    print(
        f"seed {seed}: best 1 % {by_round} = {top.n_found} of {top.n_left} "
        f"({top.times_chance:.1f} x chance), hits {hits.n_found} of {hits.n_left} "
        f"({hits.times_chance:.1f} x); {seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
