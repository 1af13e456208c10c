import math

import numpy as np
import pytest
import torch

from models.screen import Candidates, FloatArray, IntArray, ScreenError
from models.synergy.inputs import ScoredBlocks
from models.synergy.response import scoring
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.response.scoring import calibrate, require_score_of_responses, score_draws

GRIDS = DoseGrids(
    np.empty(0, np.int64),
    np.zeros(1, np.int64),
    np.empty((0, 2)),
    np.array([0, 2, 4, 5]),
    np.array([0.1, 1.0, 0.2, 2.0, 3.0]),
)
AT = Candidates(np.array([[0, 1], [1, 2]]), np.array([0, 1]))


def surface(
    pairs: IntArray, doses: FloatArray, line: IntArray
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Two draws of a surface that is easy to compute by hand."""
    first, second = (
        torch.tensor(np.exp(-doses[:, k : k + 1])).float().repeat(1, 2) for k in (0, 1)
    )
    strength = torch.tensor([[0.0, 0.3]]) + 0.01 * torch.tensor(line)[:, None]
    return [first, second], first * second * torch.exp(-strength)


_REFERENCES = {
    "bliss": np.multiply,
    "zip": np.multiply,
    "hsa": np.minimum,
    "inhibition": lambda a, b: np.ones_like(a),
}


@pytest.mark.parametrize(
    "score", [f"{name}_{summary}" for name in _REFERENCES for summary in ("mean", "max")]
)
@pytest.mark.parametrize("elements", [1, 1 << 20])
def test_scores_are_summaries_over_the_grid(
    score: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "ELEMENTS_PER_BLOCK", elements)
    found = score_draws(surface, AT, GRIDS, score, 2).numpy()
    for m, (one, two) in enumerate((([0.1, 1.0], [0.2, 2.0]), ([0.2, 2.0], [3.0]))):
        a, b = np.meshgrid(np.exp(-np.array(one)), np.exp(-np.array(two)), indexing="ij")
        reference = _REFERENCES[score.partition("_")[0]](a, b)
        for i, strength in enumerate((0.0, 0.3)):
            excess = 100 * (reference - a * b * np.exp(-strength - 0.01 * m))
            expected = excess.mean() if score.endswith("mean") else excess.max()
            assert math.isclose(found[i, m], expected, rel_tol=1e-5, abs_tol=1e-4)


def test_loewe_is_refused_in_words() -> None:
    """Silently taking another reference would be worse than having none."""
    with pytest.raises(ScreenError, match="loewe_mean needs whole single-agent curves"):
        score_draws(surface, AT, GRIDS, "loewe_mean", 2)
    require_score_of_responses("zip_max")


def test_the_remainder_is_what_known_errors_leave() -> None:
    rng = np.random.default_rng(0)
    m = 800
    true, known = 5 * rng.standard_normal(m), np.full(m, 1.0)
    blocks = ScoredBlocks(
        Candidates(np.tile([[0, 1]], (m, 1)), np.arange(m)),
        true + rng.standard_normal(m) + 2 * rng.standard_normal(m),
        known,
    )
    draws = true + 0.3 * rng.standard_normal((64, m))
    found = calibrate(draws, blocks)
    assert 1.5 < found.scale < 2.5
    assert found.df >= 10
    assert math.isclose(found.total(), math.hypot(found.scale, 1.0))
