"""Active learning against random choice: share of the top 1 % found per round, over seeds.

    python benchmarks/active_vs_random.py --data simulated --seeds 5 --rounds 9
    python benchmarks/active_vs_random.py --data oneil --seeds 5 --rounds 9 --batch 190 --init 190

Both arms of a seed start from the same random blocks. Intervals: 95 %, Student-t over seeds.
Data: NEXTROUND_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.round_oneil import fingerprints
from models.evaluation.metrics import t_interval
from models.evaluation.oneil import load_oneil_layout
from models.evaluation.replay import PastCampaign, replay
from models.pharmacology.simulate import simulate_screen
from models.rounds import RoundRules


def main() -> None:
    """Run both arms and print the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    arms = {name: [] for name in (*options.acquisition, "random")}
    clock, total = time.perf_counter(), options.seeds * len(arms) * options.rounds
    done = 0

    def tick(arm: str, seed: int, record: object) -> None:
        nonlocal done
        done += record.number > 0
        spent = time.perf_counter() - clock
        left = spent / max(done, 1) * (total - done)
        print(
            f"\r{arm} seed {seed} round {record.number}: {record.top_found:.2f} found, "
            f"{record.hit_rate:.2f} hits, about {left:.0f} s left   ",
            end="\n" if options.verbose else "",
            flush=True,
        )

    for seed in range(options.seeds):
        campaign = load(options, seed)
        batch = options.batch or round(0.01 * len(campaign.candidates))
        initial = options.init or round(0.01 * len(campaign.candidates))
        for arm, found in arms.items():
            rules = RoundRules(
                batch_size=batch, acquisition=arm, hit_threshold=threshold(options, campaign)
            )
            records = replay(
                campaign,
                rules,
                rounds=options.rounds,
                initial=initial,
                seed=seed,
                on_round=lambda record, arm=arm, seed=seed: tick(arm, seed, record),
            )
            found.append([record.top_found for record in records])
    print()
    print_table(arms, options.rounds, len(campaign.candidates), initial, batch)
    print(f"{time.perf_counter() - clock:.0f} s in all")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=("simulated", "oneil"), default="simulated")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=0, help="0: 1 %% of all blocks")
    parser.add_argument("--init", type=int, default=0, help="0: 1 %% of all blocks")
    parser.add_argument("--acquisition", nargs="+", default=["hit_probability"])
    parser.add_argument("--threshold", type=float, default=None, help="score of a hit")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def threshold(options: argparse.Namespace, campaign: PastCampaign) -> float:
    """What counts as a hit: given, or the rules' default."""
    return RoundRules().hit_threshold if options.threshold is None else options.threshold


def load(options: argparse.Namespace, seed: int) -> PastCampaign:
    """The O'Neil screen, or a simulation drawn by the seed."""
    if options.data == "oneil":
        root = Path(os.environ.get("NEXTROUND_DATA", "../shared/data"))
        folder = load_oneil_layout(root / "oneil")
        return PastCampaign.of_folder(folder, "bliss_mean", fingerprints(folder))
    simulated = simulate_screen(40, 12, 4, 0.06, seed)
    return PastCampaign.of_simulation(simulated, "bliss_mean", 2, seed)


def print_table(
    arms: dict[str, list[list[float]]], rounds: int, total: int, initial: int, batch: int
) -> None:
    """Share of the top 1 % found: mean and interval over seeds for each arm and round."""
    print(f"share of the top 1 % of {total} blocks found; {initial} at first, {batch} a round")
    print("round  measured  " + "".join(f"{name:>26}" for name in arms))
    for number in range(rounds + 1):
        cells = []
        for found in arms.values():
            values = np.array([row[min(number, len(row) - 1)] for row in found])
            if len(values) < 2:
                cells.append(f"{values.mean():>26.3f}")
                continue
            interval = t_interval(values)
            text = f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"
            cells.append(f"{text:>26}")
        print(f"{number:>5}  {initial + number * batch:>8}  " + "".join(cells))


if __name__ == "__main__":
    main()
