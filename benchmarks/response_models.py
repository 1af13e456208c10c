"""Response models in the setting of tensor models: scattered wells of 40 x 40 x 3, known truth.

    python -m benchmarks.response_models [--seeds 1] [--gated] [--threads 2]
    python -m benchmarks.response_models --grow 25000 100000 400000 1000000

20,000 random pair wells and 4,800 singles, one well each, noise sd 0.06, cut at zero; 3,000 other
pair wells are predicted. The mean squared error of the truth itself is printed as ``the truth``.
Seconds: training, and 200 whole-function draws over 10,000 candidate wells; wall, and of the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special
import torch

from models.bayes.predictive import LEVELS, Noise, predictive_quantiles, probability_below
from models.pharmacology.hill import hill
from models.pharmacology.simulate_tensor import SimulatedTensor, simulate_tensor
from models.screen import Wells, never_stop, no_progress
from models.synergy.response.sampling import plan_for, sample_worlds
from models.synergy.response.tensor_sampling import sample_tensor
from models.synergy.response.treatments import Treatments
from models.synergy.training import Schedule

N_PAIRS, N_TEST, N_CANDIDATES, N_DRAWS = 20_000, 3_000, 10_000, 200
PEER_PLAN = Schedule(200, 100)
Array = np.ndarray


@dataclass(frozen=True)
class Prediction:
    """``mean``, ``low``, ``high`` ``(m,)`` of the wells, ``place`` ``(m,)`` of each observation in
    its predictive distribution; ``None`` where the model gives no distribution."""

    mean: Array
    place: Array | None = None
    low: Array | None = None
    high: Array | None = None


@dataclass(frozen=True)
class Setting:
    """One simulated screen: truth, training wells, test wells, candidates."""

    truth: SimulatedTensor
    train: Wells
    test: Wells
    candidates: Wells
    seed: int

    @classmethod
    def draw(cls, seed: int, n_pairs: int, n_lines: int, gated: bool) -> Setting:
        truth = simulate_tensor(n_cell_lines=n_lines, seed=seed, gated=gated)
        train = join(truth.random_pairs(n_pairs, seed + 1), truth.singles(seed))
        test = truth.random_pairs(N_TEST, seed + 1000)
        return cls(truth, train, test, truth.random_pairs(N_CANDIDATES, seed + 2000), seed)

    @property
    def shape(self) -> tuple[int, int]:
        return self.truth.log_c.shape


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return f"{wall:7.1f} {cpu:7.1f}"


def join(*parts: Wells) -> Wells:
    names = ("cell_line", "compounds", "doses_um", "viability")
    return Wells(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def treatments(wells: Wells, shape: tuple[int, int]) -> Treatments:
    return Treatments.of(wells.compounds, wells.doses_um, wells.cell_line, *shape)


def hierarchical(setting: Setting) -> tuple[Prediction, str, dict[str, object]]:
    """Fit, draw over the candidates, predict the test wells."""
    clock = Clock()
    fit = sample_worlds(
        setting.train,
        setting.shape,
        seed=setting.seed,
        device=torch.device("cpu"),
        on_progress=no_progress,
        should_stop=never_stop,
    )
    fit.worlds.draws(treatments(setting.candidates, setting.shape), N_DRAWS, setting.seed)
    seconds = str(clock)
    draws = fit.worlds.draws(treatments(setting.test, setting.shape), N_DRAWS, setting.seed)
    draws = draws.numpy().astype(np.float64)
    mean = draws.mean(axis=0)
    noise = Noise(np.hypot(fit.noise_sd[0], fit.noise_sd[1] * mean))
    low, high = predictive_quantiles(draws, noise, (0.05, 0.95))
    place = probability_below(draws, setting.test.viability, noise)
    return Prediction(mean, place, low, high), seconds, fit.report


def tensor(setting: Setting) -> tuple[Prediction, str, dict[str, object]]:
    """The peer: logits of labels. Its predictive distribution is normal on the logit scale."""
    clock = Clock()
    worlds, report = sample_tensor(
        setting.train,
        setting.shape,
        seed=setting.seed,
        device=torch.device("cpu"),
        plan=PEER_PLAN,
        on_progress=no_progress,
        should_stop=never_stop,
    )
    at = treatments(setting.candidates, setting.shape)
    for start in range(0, len(at), 1000):
        worlds.surface(at.select(slice(start, start + 1000)), N_DRAWS, setting.seed)
    seconds = str(clock)
    _, joint = worlds.surface(treatments(setting.test, setting.shape), N_DRAWS, setting.seed)
    logit = joint.T.numpy().astype(np.float64)
    noise = Noise(np.full(logit.shape[1], float(worlds.states["noise"].mean())))
    observed = scipy.special.logit(np.clip(setting.test.viability, 0.01, 0.99))
    low, high = scipy.special.expit(predictive_quantiles(logit, noise, (0.05, 0.95)))
    mean = scipy.special.expit(logit).mean(axis=0)
    return Prediction(mean, probability_below(logit, observed, noise), low, high), seconds, report


def measured_bliss(setting: Setting) -> Prediction:
    """Product of the two measured single wells."""
    singles, n = setting.train.select(setting.train.n_compounds == 1), setting.shape[1]
    table = {
        (c * n + line, dose): v
        for c, line, dose, v in zip(
            singles.compounds[:, 0],
            singles.cell_line,
            singles.doses_um[:, 0],
            singles.viability,
            strict=True,
        )
    }
    test = setting.test
    sides = [
        [
            table[c * n + line, dose]
            for c, line, dose in zip(
                test.compounds[:, k], test.cell_line, test.doses_um[:, k], strict=True
            )
        ]
        for k in (0, 1)
    ]
    return Prediction(np.prod(np.array(sides), axis=0))


def true_bliss(setting: Setting) -> Prediction:
    """Product of the true single viabilities."""
    at = (np.maximum(setting.test.compounds, 0), setting.test.cell_line[:, None])
    truth = setting.truth
    single = hill(setting.test.doses_um, truth.log_c[at], truth.log_h[at], truth.emax[at])
    return Prediction(single.prod(axis=1))


def additive(setting: Setting) -> Prediction:
    """Ridge on the logit: drug-doses and cell lines, no interaction."""
    n_lines, doses = setting.shape[1], setting.truth.doses_um

    def design(wells: Wells) -> Array:
        rows = np.arange(len(wells))
        table = np.zeros((len(wells), doses.size + n_lines + 1))
        table[rows, doses.size + wells.cell_line] = table[:, -1] = 1.0
        for k in range(2):
            there = rows[wells.compounds[:, k] >= 0]
            c = wells.compounds[there, k]
            rank = (doses[c] < wells.doses_um[there, k, None] * (1 - 1e-9)).sum(axis=1)
            table[there, c * doses.shape[1] + rank] = 1.0
        return table

    x = design(setting.train)
    y = scipy.special.logit(np.clip(setting.train.viability, 0.01, 0.99))
    weight = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)
    return Prediction(scipy.special.expit(design(setting.test) @ weight))


def show(name: str, found: Prediction, setting: Setting, seconds: str = "") -> None:
    """One line: error, correlation, coverage over all and in thirds, width, seconds."""
    observed = setting.test.viability
    mse = float(np.mean((found.mean - observed) ** 2))
    r = float(np.corrcoef(found.mean, observed)[0, 1])
    line = f"{name:<28}{mse:8.4f}{r:8.3f}"
    if found.place is not None and found.low is not None and found.high is not None:
        inside = [np.abs(found.place - 0.5) <= q / 2 for q in LEVELS]
        third = np.digitize(found.mean, np.quantile(found.mean, [1 / 3, 2 / 3]))
        line += "  " + " ".join(f"{100 * hit.mean():5.1f}" for hit in inside)
        line += "  " + " ".join(f"{100 * inside[2][third == k].mean():5.1f}" for k in range(3))
        line += f"  {np.mean(found.high - found.low):6.3f}"
    print(f"{line}  {seconds}", flush=True)


def compare(seed: int, gated: bool) -> None:
    """All models on one simulated screen."""
    setting = Setting.draw(seed, N_PAIRS, 40, gated)
    print(f"\nseed {seed}{', interactions grow with dose' if gated else ''}")
    print(
        f"{'':<28}{'MSE':>8}{'r':>8}  {'cover 50':>5}  80    90    95   low   mid  high"
        "   width  wall s   CPU s"
    )
    test = setting.test
    truth = setting.truth.viability(test.compounds, test.doses_um, test.cell_line)
    baselines: dict[str, Callable[[], Prediction]] = {
        "the truth (noise floor)": lambda: Prediction(truth),
        "true singles, Bliss": lambda: true_bliss(setting),
        "measured singles, Bliss": lambda: measured_bliss(setting),
        "additive logit": lambda: additive(setting),
    }
    for name, predict in baselines.items():
        show(name, predict(), setting)
    for name, model in (("hierarchical_bliss", hierarchical), ("logit_tensor", tensor)):
        found, seconds, report = model(setting)
        show(name, found, setting, seconds)
        kept = ("rhat_max", "ess_bulk_min", "failed_wells", "gate_exponent")
        print("    " + ", ".join(f"{k} {report[k]}" for k in kept if k in report))


def grow(sizes: list[int]) -> None:
    """Seconds and error of hierarchical_bliss as wells and cell lines grow together."""
    print(f"{'pair wells':>10} {'lines':>6} {'sweeps':>7} {'MSE':>8} {'wall s':>8} {'CPU s':>7}")
    for size in sizes:
        lines = max(40, size // 500)
        setting = Setting.draw(0, size, lines, False)
        found, seconds, _ = hierarchical(setting)
        error = np.mean((found.mean - setting.test.viability) ** 2)
        sweeps = plan_for(len(setting.train)).steps
        print(f"{size:>10} {lines:>6} {sweeps:>7} {error:8.4f} {seconds}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--gated", action="store_true", help="interactions that grow with dose")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grow", type=int, nargs="*", help="numbers of pair wells")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.grow is not None:
        grow(options.grow or [25_000, 100_000, 400_000, 1_000_000])
        return
    for seed in range(options.seeds):
        compare(seed, options.gated)


if __name__ == "__main__":
    main()
