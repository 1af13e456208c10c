import numpy as np
import torch

from models.synergy.response.errors import WellErrors


def fitted(failed: float) -> tuple[WellErrors, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 1, 5000)
    bad = rng.random(5000) < failed
    residual = np.hypot(0.02, 0.06 * level) * rng.standard_normal(5000)
    residual[bad] += rng.uniform(-1, 1, int(bad.sum()))
    errors = WellErrors(5000, np.random.default_rng(1), torch.device("cpu"))
    errors.follow(torch.tensor(level), 1.0)
    kept, flagged = [], np.zeros(5000)
    for number in range(60):
        errors.draw(torch.tensor(residual), failing=True)
        if number >= 20:
            kept.append(errors.sd)
            flagged += errors.failed.numpy() / 40
    return errors, np.mean(kept, axis=0), flagged[bad & (np.abs(residual) > 0.4)]


def test_both_parts_of_the_noise_are_found() -> None:
    _, sd, _ = fitted(0.0)
    assert np.allclose(sd, [0.02, 0.06], rtol=0.1)


def test_failed_wells_are_named_and_do_not_raise_the_noise() -> None:
    errors, sd, flagged = fitted(0.1)
    assert np.allclose(sd, [0.02, 0.06], rtol=0.15)
    assert flagged.min() > 0.9
    assert 0.06 < errors.share < 0.12
    weight = errors.weight()
    assert float(weight[errors.failed].median()) < 0.1 * float(weight[~errors.failed].min())
