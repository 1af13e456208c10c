"""What it is worth to know how noisy each plate is, on simulated screens with noisy plates.

    python -m benchmarks.plate_noise [--seeds 6] [--model gp_pairs] [--factor 3]

Half of the plates are ``--factor`` times as noisy as the others. The same wells are learned from
twice: with what the controls of their plates show, and as if nothing were known of the plates.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch

from models.objectives.scores import Blocks
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.pharmacology.simulate_plates import simulate_plates, without_plates
from models.rounds import RoundRules, prepare, training_of
from models.screen import BoolArray, Candidates, FloatArray, Screen
from models.synergy.registry import find_model

COMPOUNDS, LINES, PLATES, MEASURED = 20, 6, 16, 250
NOISE_SD, DRAWS = 0.08, 128
HEADER = "z quiet  z noisy  score RMSE  model RMSE  corr   z model"


def every_block() -> Candidates:
    first, second = np.triu_indices(COMPOUNDS, 1)
    line = np.repeat(np.arange(LINES), len(first))
    return Candidates.of(np.tile(first, LINES), np.tile(second, LINES), line)


def measure(model: str, factor: float, vehicles: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Figures with and without the noise of plates; the columns of ``HEADER``."""
    simulated = simulate_screen(COMPOUNDS, LINES, 3, NOISE_SD, seed=seed)
    every, rng = every_block(), np.random.default_rng(seed)
    order = rng.permutation(len(every))
    train, test = every.select(order[:MEASURED]), every.select(order[MEASURED:])
    home = rng.integers(0, PLATES, MEASURED)
    loudness = np.where(np.arange(PLATES) % 2 == 0, 1.0, factor)
    screen = simulate_plates(simulated, train, home, loudness, vehicles=vehicles, seed=seed)
    noisy = dict(zip(train.keys(COMPOUNDS).tolist(), (home % 2 == 1).tolist(), strict=True))
    return (
        _figures(model, simulated, screen, test, noisy, seed),
        _figures(model, simulated, without_plates(screen), test, noisy, seed),
    )


def _figures(
    model: str,
    simulated: SimulatedScreen,
    screen: Screen,
    test: Candidates,
    noisy: dict[int, bool],
    seed: int,
) -> FloatArray:
    prepared = prepare(screen, RoundRules())
    keys = prepared.blocks.candidates.keys(COMPOUNDS).tolist()
    scores = _of_scores(simulated, prepared.blocks, np.array([noisy[key] for key in keys]))
    training = training_of(screen, prepared, "bliss_mean")
    draws = find_model(model).fit(training, seed=seed).draws(test, DRAWS, seed).numpy()
    truth, mean = simulated.true_score(test, "bliss_mean"), draws.mean(axis=0)
    z = (truth - mean) / draws.std(axis=0)
    own = [_rms(mean - truth), float(np.corrcoef(mean, truth)[0, 1]), float(np.std(z))]
    return np.array([*scores, *own])


def _of_scores(simulated: SimulatedScreen, blocks: Blocks, noisy: BoolArray) -> Sequence[float]:
    error = blocks.score - simulated.true_score(blocks.candidates, "bliss_mean")
    z = error / blocks.noise_sd
    return [float(z[~noisy].std()), float(z[noisy].std()), _rms(error)]


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--model", default="gp_pairs")
    parser.add_argument("--factor", type=float, default=3.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    print(f"{'':<32}{HEADER}")
    for vehicles in (16, 4):
        found = [measure(asked.model, asked.factor, vehicles, seed) for seed in range(asked.seeds)]
        ours, theirs = (np.array(column) for column in zip(*found, strict=True))
        for name, table in (("with", ours), ("without", theirs)):
            mean = table.mean(axis=0)
            figures = "{:7.2f}{:9.2f}{:12.2f}{:12.2f}{:6.2f}{:10.2f}".format(*mean)
            print(f"{vehicles:>3} vehicles, {name:<18}{figures}")
        gain = theirs[:, 3] - ours[:, 3]
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(f"    model RMSE lower by {gain.mean():.3f} +- {error:.3f}, in {sum(gain > 0)} of "
              f"{len(gain)} screens")  # fmt: skip
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
