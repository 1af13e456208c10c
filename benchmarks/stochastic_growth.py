"""Growth by chance: how near simulation-based inference comes to what is known.

python -m benchmarks.stochastic_growth extinction
python -m benchmarks.stochastic_growth moving-average [--simulations 200000 --networks 3]
python -m benchmarks.stochastic_growth oscillator [--simulations 100000 --cache FOLDER]
python -m benchmarks.stochastic_growth counts [--steps 1500]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from models.dynamics.stochastic.abc import nearest
from models.dynamics.stochastic.cell_counts import Experiment, WellCounts
from models.dynamics.stochastic.closed_forms import extinction
from models.dynamics.stochastic.direct import simulate_direct
from models.dynamics.stochastic.growth import (
    GrowthModel,
    GrowthOptions,
    extinction_draws,
    learn_growth,
)
from models.dynamics.stochastic.known_networks import (
    BIRTH_DEATH,
    VILAR,
    VILAR_LOWER,
    VILAR_SEEN,
    VILAR_START,
    VILAR_TRUTH,
    VILAR_UPPER,
)
from models.dynamics.stochastic.leaping import Leaping
from models.dynamics.stochastic.mixture import PosteriorMixture, train_members
from models.dynamics.stochastic.moving_average import (
    autocovariances,
    exact_posterior,
    simulate_moving_average,
)
from models.dynamics.stochastic.neural_posterior import (
    NeuralPosterior,
    Simulated,
    Stored,
    Training,
    held_out_score,
    train,
)
from models.dynamics.stochastic.priors import BoxPrior, TrianglePrior
from models.dynamics.stochastic.resonators import EnergyEmbedding, ResonatorBank, triangle_nodes
from models.dynamics.stochastic.summaries import SeriesCNN

HELD_OUT = 5000
ASKED = 500


def seeded(make, seed=0):
    """A network whose first weights come from ``seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class AsSeries(nn.Module):
    """``(B, T)`` to a network of ``(B, 1, T)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, series: Tensor) -> Tensor:
        return self.network(series[:, None])


def extinctions() -> None:
    """Linear birth and death: how many of 200,000 leaped wells died out, and the closed form."""
    print("division death cells hours   exact   leaped  off %  (noise of one sd %)")
    times = np.array([24.0, 72.0, 168.0])
    for division, death, cells in ((0.05, 0.04, 2), (0.03, 0.05, 5), (0.05, 0.05, 3)):
        rates = torch.tensor([[division, death]], dtype=torch.float64).expand(200_000, -1)
        start = torch.full((200_000, 1), float(cells), dtype=torch.float64)
        made = Leaping(BIRTH_DEATH, 1.0).simulate(
            rates, start, times, torch.Generator().manual_seed(1)
        )
        share = (made[..., 0] == 0).double().mean(dim=0).numpy()
        exact = extinction(cells, division, death, times)
        noise = np.sqrt(exact * (1 - exact) / 200_000) / exact
        for row in zip(times, exact, share, 100 * (share / exact - 1), 100 * noise, strict=True):
            print(f"{division:8} {death:5} {cells:5} " + "{:5.0f} {:.5f} {:.5f} {:+.2f} ({:.2f})"
                  .format(*row))  # fmt: skip


def moving_average(simulations: int, steps: int, filters: int, networks: int) -> None:
    """Errors of posterior means in exact posterior sds, and spread over exact spread, over 500
    series drawn from the prior; by parameter and over both. The bank of the neural rows knows the
    family of the model (:mod:`resonators`), the rows of rejection do not."""
    prior, generator = TrianglePrior(), torch.Generator().manual_seed(1)
    theta = prior.sample(simulations, generator)
    series = simulate_moving_average(theta, 100, generator).float()
    fresh = torch.Generator().manual_seed(99)
    seen = simulate_moving_average(prior.sample(ASKED, fresh), 100, fresh)
    parts = [exact_posterior(part.numpy()) for part in torch.split(seen, 100)]
    exact = Exact(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("mean", "sd")))
    print(f"{ASKED} series; theta_1, theta_2, both (standard error)")
    print("posterior by" + " " * 34 + "mean error (sd)" + " " * 13 + "spread / exact        median")
    _rejections(theta, series, seen, exact)
    start = time.process_time()
    bank = ResonatorBank(triangle_nodes(filters, seed=0), 100, backcast=True)
    energies = bank.energies(series)
    mixture = PosteriorMixture([
        NeuralPosterior(
            prior, seeded(lambda: EnergyEmbedding(bank, energies[HELD_OUT:], 64), at), 64, seed=at
        ) for at in range(networks)
    ])  # fmt: skip
    pairs = Simulated(theta, (energies,))
    held_out = pairs.select(torch.arange(HELD_OUT))
    histories = train_members(
        mixture, Stored(pairs.select(torch.arange(HELD_OUT, simulations))), held_out, seed=2,
        training=Training(steps, 512, rate=2e-3, every=max(1, steps // 8)),
    )  # fmt: skip
    spent = time.process_time() - start
    asked = bank.energies(seen.float())
    for name, one in (
        *((f"neural, network {at + 1}", one) for at, one in enumerate(mixture.members)),
        (f"neural, mixture of {networks}", mixture),
    ):
        drawn = one.sample(2000, asked, generator=fresh).numpy()
        _line(name, drawn.mean(0), drawn.std(0), exact)
        print(f"    held-out nats {held_out_score(one, held_out):.4f}")
    print(f"(looks {[[round(v, 3) for v in row] for row in histories]}; {spent:.0f} CPU-s)")


class Exact(NamedTuple):
    """Exact posterior means and sds ``(N, 2)``."""

    mean: np.ndarray
    sd: np.ndarray


def _rejections(theta: Tensor, series: Tensor, seen: Tensor, exact: Exact) -> None:
    """Rows of rejection by two kinds of summaries."""
    start = time.process_time()
    cnn = _regression(theta, series)
    print(f"(CNN trained for {time.process_time() - start:.0f} CPU-s)", flush=True)
    spans = {
        "2 autocovariances": autocovariances,
        "CNN summaries": lambda rows: cnn(torch.as_tensor(rows).float()[:, None]).numpy(),
    }
    keep = max(100, len(theta) // 500)
    with torch.no_grad():
        for name, summarise in spans.items():
            known = torch.cat([
                torch.as_tensor(np.asarray(summarise(part.numpy()))).double()
                for part in torch.split(series, 10_000)
            ])  # fmt: skip
            asked = torch.as_tensor(np.asarray(summarise(seen.numpy()))).double()
            kept = [nearest(theta, known, one, keep) for one in asked]
            mean = torch.stack([one.mean() for one in kept]).numpy()
            sd = torch.stack([one.sd() for one in kept]).numpy()
            _line(f"rejection, {name}, nearest {keep}", mean, sd, exact)


def _regression(theta: Tensor, series: Tensor, steps: int = 800) -> nn.Module:
    """A CNN of the series that regresses the parameters: the published summary."""
    network = seeded(lambda: SeriesCNN(1, 100, 2))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * step / steps))
        some = torch.randint(len(theta), (256,), generator=generator)
        loss = (network(series[some][:, None]) - theta[some].float()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _line(name: str, mean, sd, exact: Exact) -> None:
    error, ratio = np.abs(mean - exact.mean) / exact.sd, sd / exact.sd
    cells = []
    for rows in (error, ratio):
        both = rows.mean(axis=1)
        noise = both.std() / np.sqrt(len(both))
        cells.append(" ".join(f"{v:.3f}" for v in (*rows.mean(0), both.mean())) + f" ({noise:.3f})")
    print(f"{name:42}  {cells[0]}  {cells[1]}  {np.median(ratio):.3f}", flush=True)


OSCILLATOR_TIMES = np.arange(1, 101) * 0.5
AT_ONCE = 2000


def oscillator(simulations: int, cache: Path | None, steps: int, tau: float) -> None:
    """Mean absolute error of posterior means in shares of the prior range, by parameter, over 500
    simulations held out; CNN embedding beside hand-picked statistics."""
    names = VILAR.parameters
    prior = BoxPrior(
        names, tuple(float(VILAR_LOWER[n]) for n in names),
        tuple(float(VILAR_UPPER[n]) for n in names),
    )  # fmt: skip
    _validate(tau)
    theta, counts = _simulated(prior, simulations, cache, tau)
    logs = torch.log1p(counts).transpose(1, 2) / 5
    picked = _statistics(counts)
    width = np.array(prior.upper) - np.array(prior.lower)
    held = torch.arange(500)
    guess = np.abs(theta[held].numpy() - (np.array(prior.lower) + width / 2)) / width
    found = {"prior mean": guess.mean(axis=0)}
    for name, data, embedding in (
        ("hand-picked", picked, seeded(lambda: nn.Sequential(
            nn.Linear(picked.shape[1], 128), nn.SiLU(), nn.Linear(128, 64)))),
        ("CNN", logs, seeded(lambda: SeriesCNN(3, 100, 64))),
    ):  # fmt: skip
        start = time.process_time()
        posterior = NeuralPosterior(prior, embedding, 64, seed=0)
        pairs = Simulated(theta, (data,))
        train(
            posterior, Stored(pairs.select(torch.arange(1000, len(theta)))),
            pairs.select(torch.arange(1000)), seed=1,
            training=Training(steps, 256, rate=2e-3, every=max(1, steps // 5)),
        )  # fmt: skip
        drawn = posterior.sample(100, data[held], generator=torch.Generator().manual_seed(0))
        error = (drawn.mean(0) - theta[held]).abs().numpy() / width
        found[name] = error.mean(axis=0)
        print(f"{name}: {time.process_time() - start:.0f} CPU-s", flush=True)
    print("parameter   " + "".join(f"{name:>14}" for name in found))
    for at, name in enumerate(names):
        print(f"{name:12}" + "".join(f"{row[at]:14.3f}" for row in found.values()))
    print(f"{'mean':12}" + "".join(f"{row.mean():14.3f}" for row in found.values()))


def _simulated(
    prior: BoxPrior, simulations: int, cache: Path | None, tau: float
) -> tuple[Tensor, Tensor]:
    seen = [VILAR.species.index(name) for name in VILAR_SEEN]
    start = torch.tensor(VILAR_START, dtype=torch.float64).expand(AT_ONCE, -1)
    parts, begun = [], time.process_time()
    for part in range(simulations // AT_ONCE):
        file = None if cache is None else cache / f"oscillator-{tau}-{part}.npz"
        if file is not None and file.exists():
            with np.load(file) as kept:
                parts.append((torch.tensor(kept["theta"]), torch.tensor(kept["counts"])))
            continue
        generator = torch.Generator().manual_seed(1000 + part)
        theta = prior.sample(AT_ONCE, generator)
        made = Leaping(VILAR, tau).simulate(theta, start, OSCILLATOR_TIMES, generator)
        parts.append((theta, made[..., seen].float()))
        if file is not None:
            np.savez(file, theta=theta.numpy(), counts=parts[-1][1].numpy())
    print(f"{simulations:,} simulations, leaps of {tau} h: {time.process_time() - begun:.0f} CPU-s")
    return torch.cat([t for t, _ in parts]), torch.cat([c for _, c in parts])


def _validate(tau: float) -> None:
    """Means over 30 runs of the direct method and 300 leaped ones at the published parameters."""
    values = np.array([VILAR_TRUTH[name] for name in VILAR.parameters])
    times, start = np.array([1.5, 3.0, 6.0]), np.array(VILAR_START, np.float64)
    exact = simulate_direct(VILAR, values, np.broadcast_to(start, (30, 9)), times, 0)[..., 6:]
    made = Leaping(VILAR, tau).simulate(
        torch.tensor(values).expand(300, -1), torch.tensor(start).expand(300, -1), times,
        torch.Generator().manual_seed(0),
    ).numpy()[..., 6:]  # fmt: skip
    for at, hour in enumerate(times):
        rows = (exact[:, at].mean(0), exact[:, at].std(0) / np.sqrt(30), made[:, at].mean(0))
        print(f"{hour:4} h  direct A R C {np.round(rows[0], 1)} se {np.round(rows[1], 1)} "
              f"leaped {np.round(rows[2], 1)}")  # fmt: skip


def _statistics(counts: Tensor) -> Tensor:
    """Of each observed species: mean, sd, last value, autocorrelations, and correlations with the
    others, in logarithms; standardised."""
    logs = torch.log1p(counts)
    away = logs - logs.mean(1, keepdim=True)
    spread = away.square().mean(1).clamp(min=1e-6)
    lags = [(away[:, k:] * away[:, :-k]).mean(1) / spread for k in (1, 5, 15, 30, 50)]
    cross = [
        (away[..., i] * away[..., j]).mean(1, keepdim=True) for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    jump = (logs[:, 1:] - logs[:, :-1]).square().mean(1).clamp(min=1e-9).log()
    rows = torch.cat([logs.mean(1), spread.log(), logs[:, 0], logs[:, -1], logs.amax(1), jump,
                      *lags, *cross], dim=1)  # fmt: skip
    return (rows - rows.mean(0)) / rows.std(0)


def counts(steps: int) -> None:
    """A network for one design: calibration, cost, and rates and extinction of known conditions."""
    times = np.arange(0.0, 73.0, 6.0)
    frame = Experiment(
        times, np.array([8.0, 10.0, 12.0, 15.0, 20.0]), np.array([3.0, 4.0]),
        np.array([[0, 0], [0.1, 0], [1, 0], [0.1, 0.1], [1, 1]]),
    )  # fmt: skip
    options = GrowthOptions(Training(steps, 192, rate=2e-3), held_out=600)
    start = time.process_time()
    model = GrowthModel(
        learn_growth(frame, seed=0, options=options), frame, seed=1, options=options
    )
    print(f"trained in {time.process_time() - start:.0f} CPU-s")
    checked = model.calibration(100)
    for name, p, held in zip(frame.prior().names, checked.p, checked.coverage_90, strict=True):
        print(f"{name:20} p of ranks {p:.3f}   90 % intervals held {held:.3f}")
    generator = torch.Generator().manual_seed(5)
    for rates, levels in (((0.05, 0.005, 0.002, 0.01), (0, 0)), ((0.03, 0.05, 0.01, 0.01), (1, 0))):
        theta = torch.tensor([[*rates, 0.05, 0.05]], dtype=torch.float64)
        wells = frame.simulate(theta, torch.full((1, 4), 10.0, dtype=torch.float64), generator)
        drawn = model.draws([WellCounts(times, wells[0].numpy(), levels)], 1000)[:, 0]
        gone = extinction_draws(drawn, 10, np.array([168.0]))[:, 0]
        truth = extinction_draws(np.array([rates]), 10, np.array([168.0]))[0, 0]
        print(f"true {rates}: mean {drawn.mean(0)[:4].round(4)} sd {drawn.std(0)[:4].round(4)}; "
              f"extinct in a week {truth:.3f}, found {gone.mean():.3f} "
              f"({np.quantile(gone, 0.05):.3f} to {np.quantile(gone, 0.95):.3f})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("extinction", "moving-average", "oscillator", "counts"))
    parser.add_argument("--simulations", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--filters", type=int, default=256)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--tau", type=float, default=0.05)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(describe())
    if asked.what == "extinction":
        extinctions()
    elif asked.what == "moving-average":
        moving_average(
            asked.simulations or 200_000, asked.steps or 4000, asked.filters, asked.networks
        )
    elif asked.what == "oscillator":
        oscillator(asked.simulations or 100_000, asked.cache, asked.steps or 3000, asked.tau)
    else:
        counts(asked.steps or 1500)


if __name__ == "__main__":
    main()
