"""Collapsed channels with plain and post-shifted batch normalisation, by learning rate.

    python -m benchmarks.network_health [--seeds 3] [--epochs 25] [--warm-rounds 4]

A 64-256-256-10 perceptron with rectifiers, SGD with momentum 0.9, batches of 16, 40 % of the
training labels wrong. The data are scikit-learn's digits (1,797 of 8 x 8 pixels), a quarter of
them held out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from models.bayes.channel_health import COLLAPSED
from models.bayes.post_shifted import PostShiftedBatchNorm
from models.bayes.training import one_thread

RATES = (0.02, 0.1, 0.3, 1.0)
NOMINAL = 0.1
WIDTH, CLASSES, WRONG, BATCH, MOMENTUM = 256, 10, 0.4, 16, 0.9
Data = tuple[Tensor, Tensor, Tensor, Tensor]


def digits() -> Data:
    """Inputs and labels to train on and to test on."""
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.data))
    x, y = loaded.data[order] / 16.0, loaded.target[order]
    return _split(x, y)


def _split(x: np.ndarray, y: np.ndarray, share: float = 0.75) -> Data:
    cut = int(share * len(x))
    inputs, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.int64)
    return inputs[:cut], labels[:cut], inputs[cut:], labels[cut:]


def network(shifted: bool, seed: int) -> nn.Sequential:
    """The perceptron; weights of one seed are the same with either layer."""
    torch.manual_seed(seed)
    kind = PostShiftedBatchNorm if shifted else nn.BatchNorm1d
    layers: list[nn.Module] = []
    for fan_in in (64, WIDTH):
        layers += [nn.Linear(fan_in, WIDTH), kind(WIDTH), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


def train(model: nn.Sequential, x: Tensor, y: Tensor, rate: float, epochs: int, seed: int) -> None:
    """Plain SGD on labels of which a share is wrong; stops where the loss is no number."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(y), generator=generator) < WRONG
    labels = torch.where(wrong, torch.randint(CLASSES, y.shape, generator=generator), y)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            loss = functional.cross_entropy(model(x[rows]), labels[rows])
            if not torch.isfinite(loss):
                return
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


@torch.no_grad()
def collapsed(model: nn.Sequential, x: Tensor) -> int:
    """Channels of both layers that are active in fewer than 1 of 1,000 rows, as served."""
    model.eval()
    found = 0
    for layer in model:
        if isinstance(layer, nn.ReLU):
            found += int(((x > 0).double().mean(0) < COLLAPSED).sum())
        x = layer(x)
    return found


@torch.no_grad()
def accuracy(model: nn.Sequential, x: Tensor, y: Tensor) -> float:
    """Share of test rows in the right class."""
    return float((model.eval()(x).argmax(1) == y).double().mean())


def by_rate(data: Data, seeds: int, epochs: int) -> None:
    """The table: collapsed channels of 512 and test accuracy."""
    x, y, test_x, test_y = data
    print("\n| rate | plain: collapsed | accuracy | post-shifted: collapsed | accuracy |")
    print("|---|---|---|---|---|")
    for rate in RATES:
        cells = []
        for shifted in (False, True):
            found = []
            for seed in range(seeds):
                model = network(shifted, seed)
                train(model, x, y, rate, epochs, seed)
                found.append((collapsed(model, x), accuracy(model, test_x, test_y)))
            dead, right = np.array(found).T
            cells.append(f"{dead.mean():.1f} ({', '.join(f'{d:.0f}' for d in dead)})")
            cells.append(f"{right.mean():.3f} +- {right.std(ddof=1) if seeds > 1 else 0:.3f}")
        print(f"| {rate} | {' | '.join(cells)} |", flush=True)


def warm_started(data: Data, seeds: int, epochs: int, rounds: int) -> None:
    """Rounds that go on from the last one's weights, each with a quarter more of the data."""
    x, y, test_x, test_y = data
    print(f"\nWarm-started rounds at {3 * NOMINAL:.1f} (three times nominal)\n")
    print("| round | rows | plain: collapsed | accuracy | post-shifted: collapsed | accuracy |")
    print("|---|---|---|---|---|---|")
    models = {shifted: [network(shifted, s) for s in range(seeds)] for shifted in (False, True)}
    for number in range(1, rounds + 1):
        rows = len(x) * number // rounds
        cells = []
        for every in models.values():
            for seed, model in enumerate(every):
                train(model, x[:rows], y[:rows], 3 * NOMINAL, epochs, 100 * number + seed)
            dead = [collapsed(model, x) for model in every]
            right = [accuracy(model, test_x, test_y) for model in every]
            cells += [f"{np.mean(dead):.1f}", f"{np.mean(right):.3f}"]
        print(f"| {number} | {rows} | {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--warm-rounds", type=int, default=4)
    given = parser.parse_args(arguments)
    started, data = time.perf_counter(), digits()
    print(f"{len(data[0])} rows to train on, {len(data[2])} to test on, {given.seeds} seeds")
    with one_thread():
        by_rate(data, given.seeds, given.epochs)
        warm_started(data, given.seeds, max(1, given.epochs // 3), given.warm_rounds)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
