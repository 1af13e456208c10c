"""The conditionals of the Gibbs sampler against brute-force linear-Gaussian posteriors."""

import numpy as np
import torch

from models.synergy.response.tensor_gibbs import LabelledWells, TensorChain

D, LABELS, LINES = 2, 4, 2
DRAWS = 1500


def chain(n: int = 14) -> TensorChain:
    rng = np.random.default_rng(0)
    first = rng.integers(0, LABELS, n)
    second = (first + rng.integers(1, LABELS, n)) % LABELS
    label = np.sort(np.stack([first, second], axis=1), axis=1)
    label[:4, 1] = LABELS
    wells = LabelledWells(label, rng.integers(0, LINES, n), rng.standard_normal(n), LABELS, LINES)
    made = TensorChain(wells, D, 1, torch.device("cpu"))
    made.row[:-1] = torch.tensor(rng.standard_normal((LABELS, 1 + 2 * D)))
    made.line = torch.tensor(rng.standard_normal((LINES, 1 + D)))
    made.tau = 2.0
    return made


def brute_mean(state: TensorChain) -> np.ndarray:
    """The formula of the model, well by well."""
    row, line = state.row.numpy(), state.line.numpy()
    found = []
    for labels, c in zip(state.wells.label, state.wells.line, strict=True):
        own = [row[i] for i in labels if i < LABELS]
        w = line[c, 1:]
        value = line[c, 0] + sum(r[0] + w @ r[1 : 1 + D] for r in own)
        if len(own) == 2:
            value += w @ (own[0][1 + D :] * own[1][1 + D :])
        found.append(value)
    return np.array(found)


def exact(
    state: TensorChain, at: torch.Tensor, k: int, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of row ``k`` of a table by differentiating the brute formula."""
    start = at[k].clone()
    at[k] = 0.0
    base, columns = brute_mean(state), []
    for p in range(len(start)):
        at[k, p] = 1.0
        columns.append(brute_mean(state) - base)
        at[k, p] = 0.0
    at[k] = start
    x = np.stack(columns, axis=1)
    matrix = state.tau * x.T @ x + np.diag(precision)
    return np.linalg.solve(matrix, state.tau * x.T @ (state.wells.logit - base)), np.linalg.inv(
        matrix
    )


def assert_drawn_from(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    error = np.sqrt(np.diag(covariance) / len(draws))
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 4.5 * error)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.max(np.abs(np.cov(draws.T) - covariance) / scale) < 0.12


def test_the_mean_is_the_formula() -> None:
    state = chain()
    assert np.allclose(state.mean().numpy(), brute_mean(state))


def test_cell_lines_are_drawn_from_their_exact_conditional() -> None:
    state = chain()
    state.line_precision = np.array([1.0, 2.0, 3.0])
    mean, covariance = exact(state, state.line, 1, state.line_precision)
    draws = []
    for _ in range(DRAWS):
        state.draw_lines()
        draws.append(state.line[1].numpy().copy())
    assert_drawn_from(np.array(draws), mean, covariance)


def test_the_first_drug_dose_drawn_has_its_exact_conditional() -> None:
    state = chain()
    k = int(state.label_views[0].units[0])
    start = state.row.clone()
    precision = state._row_precision()[k].numpy()
    mean, covariance = exact(state, state.row, k, precision)
    draws = []
    for _ in range(DRAWS):
        state.row = start.clone()
        state.draw_rows()
        draws.append(state.row[k].numpy().copy())
    assert_drawn_from(np.array(draws), mean, covariance)


def test_the_last_drug_dose_is_drawn_given_the_new_others() -> None:
    """Given fixed others its residual must follow the state: checked at one frozen sweep."""
    state = chain()
    k = int(state.label_views[-1].units[-1])
    draws, centred = [], []
    for _ in range(DRAWS):
        state.draw_rows()
        mean, covariance = exact(state, state.row, k, state._row_precision()[k].numpy())
        factor = np.linalg.cholesky(covariance)
        centred.append(np.linalg.solve(factor, state.row[k].numpy() - mean))
        draws.append(state.row[k].numpy().copy())
    assert_drawn_from(np.array(centred), np.zeros(1 + 2 * D), np.eye(1 + 2 * D))


def test_sweeps_are_reproducible_and_find_the_noise() -> None:
    rng = np.random.default_rng(5)
    n, labels = 1500, 12
    label = np.stack([rng.integers(0, 6, n), 6 + rng.integers(0, 6, n)], axis=1)
    line = rng.integers(0, 8, n)
    effect, own = rng.standard_normal(labels), rng.standard_normal(8)
    logit = effect[label].sum(1) + own[line] + 0.3 * rng.standard_normal(n)
    wells = LabelledWells(label, line, logit - logit.mean(), labels, 8)
    kept = []
    for _ in range(2):
        state = TensorChain(wells, 3, 7, torch.device("cpu"))
        for _ in range(30):
            state.sweep()
        kept.append(state)
    assert torch.equal(kept[0].row, kept[1].row)
    assert abs(kept[0].tau ** -0.5 - 0.3) < 0.03
