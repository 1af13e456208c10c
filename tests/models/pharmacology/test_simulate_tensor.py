import numpy as np

from models.pharmacology.hill import hill
from models.pharmacology.simulate_tensor import simulate_tensor
from models.screen import ABSENT


def test_the_setting_has_the_published_difficulty() -> None:
    """Noise floor 0.0033; Bliss product of the true singles about 0.0065."""
    floors, products = [], []
    for seed in range(3):
        sim = simulate_tensor(seed=seed)
        test = sim.random_pairs(3000, seed + 5)
        truth = sim.viability(test.compounds, test.doses_um, test.cell_line)
        at = (np.maximum(test.compounds, 0), test.cell_line[:, None])
        single = hill(test.doses_um, sim.log_c[at], sim.log_h[at], sim.emax[at])
        floors.append(np.mean((truth - test.viability) ** 2))
        products.append(np.mean((single.prod(axis=1) - test.viability) ** 2))
    assert abs(np.mean(floors) - 0.0033) < 0.0002
    assert abs(np.mean(products) - 0.0067) < 0.0012


def test_vehicle_singles_and_pairs() -> None:
    sim = simulate_tensor(5, 4, 3, 0.0, seed=1)
    nothing = np.full((1, 3), ABSENT)
    assert sim.viability(nothing, np.zeros((1, 3)), np.zeros(1, np.int64)).tolist() == [1.0]
    singles = sim.singles(0)
    assert len(singles) == 60
    at = (singles.compounds[:, 0], singles.cell_line)
    expected = hill(singles.doses_um[:, 0], sim.log_c[at], sim.log_h[at], sim.emax[at])
    assert np.allclose(singles.viability, expected)
    pairs = sim.random_pairs(200, 1)
    assert np.all(pairs.compounds[:, 0] < pairs.compounds[:, 1])


def test_a_gate_weakens_interactions_at_low_doses() -> None:
    open_, gated = (simulate_tensor(6, 5, 3, 0.0, seed=2, gated=g) for g in (False, True))
    wells = open_.random_pairs(300, 3)
    args = (wells.compounds, wells.doses_um, wells.cell_line)
    at = (np.maximum(wells.compounds, 0), wells.cell_line[:, None])
    single = hill(wells.doses_um, open_.log_c[at], open_.log_h[at], open_.emax[at]).prod(axis=1)
    free, held = (np.abs(np.log(s.viability(*args) / single)) for s in (open_, gated))
    assert np.all(held <= free + 1e-12)
    assert held.sum() < 0.8 * free.sum()
