"""RECOVER's simulated campaign: one cell line, 30 random pairs, 30 a round until none is left.

    python -m benchmarks.recover_simulation                       simulated: 90 compounds
    python -m benchmarks.recover_simulation --data DIR --lines 3  lines of a measured screen

Protocol and columns are those of the Bayesian fork's tables (one cell line, about 4,000 pairs, 133
rounds, share of the top 1 % after so many rounds, mean over rounds 1 to 20); the campaign runs
through the code of the service, evidence included. DIR is a folder in the O'Neil layout.
CPU seconds are those of the process and do not depend on what else the machine does; wall does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.round_oneil import fingerprints
from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.evaluation.replay import PastCampaign, RoundRecord, replay
from models.pharmacology.simulate import simulate_screen
from models.rounds import RoundRules
from models.screen import Candidates, Wells

BATCH = 30
SHOWN = (1, 5, 10, 15, 20, 30, 50, 100)
EARLY = 20
NOISE_SD = 0.06
DOSES = 4


@dataclass(frozen=True)
class Simulation:
    """One finished campaign: its records and what it cost, in seconds."""

    name: str
    pairs: int
    records: list[RoundRecord]
    wall: float
    cpu: float


def main() -> None:
    """Run, print a line a campaign and where the time went."""
    options = parse()
    torch.set_num_threads(1)
    print(describe())
    rules = RoundRules(
        score=options.score,
        hit_threshold=options.threshold,
        batch_size=BATCH,
        acquisition=options.acquisition,
        model=options.model,
    )
    print(f"{rules.model}, {rules.acquisition}, {rules.score}; share of the top 1 % after rounds")
    print(f"{'campaign':<26}" + "".join(f"{k:>6}" for k in SHOWN) + "  1-20  wall s   CPU s")
    finished = []
    for name, seed, campaign in campaigns(options):
        simulation = run(name, campaign, rules, seed, options.rounds, options.verbose)
        finished.append(simulation)
        print_line(simulation)
    for simulation in finished:
        print_costs(simulation)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder in the O'Neil layout; none: simulated")
    parser.add_argument("--lines", type=int, default=1, help="how many cell lines of the folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--compounds", type=int, default=90, help="of the simulated screen")
    parser.add_argument("--rounds", type=int, default=0, help="at most so many; 0: to the end")
    parser.add_argument("--score", default="bliss_mean")
    parser.add_argument("--threshold", type=float, default=10.0, help="score of a hit")
    parser.add_argument("--acquisition", default="hit_probability")
    parser.add_argument("--model", default="bnn_gaussian")
    parser.add_argument("--verbose", action="store_true", help="a line a round")
    return parser.parse_args()


def campaigns(options: argparse.Namespace) -> Iterator[tuple[str, int, PastCampaign]]:
    """Name, seed and campaign of everything to run."""
    if options.data is None:
        for seed in range(options.seeds):
            simulated = simulate_screen(options.compounds, 1, DOSES, NOISE_SD, seed)
            name = f"simulated, seed {seed}"
            yield name, seed, PastCampaign.of_simulation(simulated, options.score, 2, seed)
        return
    folder = load_oneil_layout(options.data)
    bits = fingerprints(folder)
    for line in range(min(options.lines, len(folder.cell_line_names))):
        campaign = PastCampaign.of_folder(one_line(folder, line), options.score, bits)
        for seed in range(options.seeds):
            yield f"{folder.cell_line_names[line]}, seed {seed}", seed, campaign


def one_line(folder: ScreenFolder, line: int) -> ScreenFolder:
    """The same screen as if only this cell line had been measured."""
    kept = np.flatnonzero(folder.blocks.cell_line == line)
    renamed = np.full(len(folder.blocks), -1)
    renamed[kept] = np.arange(len(kept))
    wells = folder.combinations.cell_line == line
    return replace(
        folder,
        cell_line_names=(folder.cell_line_names[line],),
        features=folder.features[[line]],
        has_features=folder.has_features[[line]],
        singles=_as_first(folder.singles.select(folder.singles.cell_line == line)),
        combinations=_as_first(folder.combinations.select(wells)),
        blocks=Candidates(folder.blocks.compounds[kept], np.zeros(len(kept), np.int64)),
        block=renamed[folder.block[wells]],
    )


def _as_first(wells: Wells) -> Wells:
    return replace(wells, cell_line=np.zeros(len(wells), np.int64))


def run(
    name: str, campaign: PastCampaign, rules: RoundRules, seed: int, rounds: int, verbose: bool
) -> Simulation:
    """One campaign from the first random batch to the last pair."""
    pairs = len(campaign.candidates)
    wall, cpu = time.perf_counter(), time.process_time()

    def tick(record: RoundRecord) -> None:
        if verbose:
            print(
                f"  round {record.number:>3}: {record.measured:>5} measured, "
                f"{record.top_found:.2f} found, {time.process_time() - cpu:7.1f} CPU-s",
                flush=True,
            )

    records = replay(
        campaign,
        rules,
        rounds=rounds or -(-pairs // BATCH),
        initial=BATCH,
        seed=seed,
        on_round=tick,
    )
    return Simulation(name, pairs, records, time.perf_counter() - wall, time.process_time() - cpu)


def print_line(simulation: Simulation) -> None:
    """One row of the table."""
    found = {record.number: record.top_found for record in simulation.records}
    last = max(found)
    shares = "".join(f"{found[k]:>6.2f}" if k <= last else f"{'-':>6}" for k in SHOWN)
    early = np.mean([found[min(k, last)] for k in range(1, EARLY + 1)])
    print(
        f"{simulation.name:<26}{shares}{early:>6.2f}{simulation.wall:>8.0f}{simulation.cpu:>8.0f}",
        flush=True,
    )


def print_costs(simulation: Simulation) -> None:
    """Where the wall seconds went, in thirds of the campaign."""
    rounds = [record for record in simulation.records if record.number]
    print(f"{simulation.name}: {simulation.pairs} pairs, {len(rounds)} rounds; seconds a round")
    for part in np.array_split(np.arange(len(rounds)), 3):
        chosen = [rounds[k] for k in part]
        if not chosen:
            continue
        spent = [record.evidence.get("seconds", {}) for record in chosen]
        evidence = np.mean([row.get("evidence", 0.0) for row in spent])
        posterior = np.mean([row.get("posterior", 0.0) for row in spent])
        whole = np.mean([record.seconds for record in chosen])
        print(
            f"  rounds {chosen[0].number:>3} to {chosen[-1].number:>3}: {whole:6.2f} in all, "
            f"evidence {evidence:5.2f}, posterior {posterior:5.2f}, "
            f"curves, scores, pool and choice {whole - evidence - posterior:5.2f}"
        )


if __name__ == "__main__":
    main()
