"""The simulator: its truth behaves like drugs, its screens like screens."""

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from models.pharmacology.hill import hill
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.pharmacology.simulated_structures import compound_classes, sample_smiles
from models.screen import Candidates, ScreenError


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(40, 16, 4, 0.05, seed=4)


def every_block(sim: SimulatedScreen) -> Candidates:
    first, second = np.triu_indices(len(sim.compounds), 1)
    n_lines = len(sim.cell_lines)
    line = np.tile(np.arange(n_lines), len(first))
    return Candidates.of(np.repeat(first, n_lines), np.repeat(second, n_lines), line)


def test_same_arguments_same_screen(simulated: SimulatedScreen) -> None:
    again = simulate_screen(40, 16, 4, 0.05, seed=4)
    assert np.array_equal(again.log_c, simulated.log_c)
    assert again.smiles == simulated.smiles
    few = every_block(again).select(np.arange(5))
    one, two = again.measure(few, 2, 7), simulated.measure(few, 2, 7)
    assert np.array_equal(one.viability, two.viability)
    assert not np.array_equal(one.viability, simulated.measure(few, 2, 8).viability)


def test_no_interaction_where_a_dose_is_zero(simulated: SimulatedScreen) -> None:
    blocks = every_block(simulated).select(np.arange(0, 3000, 7))
    doses = np.stack([np.full(len(blocks), 3.0), np.zeros(len(blocks))], axis=-1)
    at = (blocks.compounds[:, 0], blocks.cell_line)
    alone = hill(doses[:, 0], simulated.log_c[at], simulated.log_h[at], simulated.emax[at])
    assert simulated.viability(blocks, doses) == pytest.approx(alone, abs=1e-12)


def test_truth_is_a_viability(simulated: SimulatedScreen) -> None:
    blocks = every_block(simulated)
    truth = simulated.viability(blocks, simulated.block_doses(blocks))
    assert truth.min() >= 0.0
    assert truth.max() <= 1.0


def test_few_strong_hits_and_a_heavy_tail(simulated: SimulatedScreen) -> None:
    score = simulated.true_score(every_block(simulated), "bliss_mean")
    middle, high, top = np.quantile(score, [0.5, 0.99, 0.999])
    spread = np.subtract(*np.quantile(score, [0.75, 0.25]))
    assert abs(middle) < 1.0
    assert high > 4 * spread
    assert top > 1.4 * high


@pytest.mark.parametrize("score", ["bliss_max", "hsa_mean", "hsa_max"])
def test_scores_are_ordered(simulated: SimulatedScreen, score: str) -> None:
    blocks = every_block(simulated)
    assert np.all(
        simulated.true_score(blocks, score) >= simulated.true_score(blocks, "bliss_mean") - 1e-9
    )


def test_unknown_score_is_refused(simulated: SimulatedScreen) -> None:
    with pytest.raises(ScreenError, match="bliss_median"):
        simulated.true_score(Candidates.empty(), "bliss_median")


def test_measured_wells_scatter_around_the_truth(simulated: SimulatedScreen) -> None:
    blocks = every_block(simulated).select(np.arange(0, 9000, 30))
    wells = simulated.measure(blocks, replicates=2, seed=1)
    truth = np.repeat(simulated.viability(blocks, simulated.block_doses(blocks)).ravel(), 2)
    standard = (wells.viability - truth) / simulated.noise.sd(truth)
    assert standard.std() == pytest.approx(1.0, abs=0.03)
    assert len(wells) == len(blocks) * 16 * 2


def test_single_agents_and_controls(simulated: SimulatedScreen) -> None:
    singles = simulated.single_agents(replicates=2, seed=1, n_doses=6)
    assert len(singles) == 40 * 16 * 6 * 2
    assert np.all(singles.n_compounds == 1)
    controls = simulated.controls(5, seed=2)
    assert np.all(controls.n_compounds == 0)
    assert controls.viability.max() > 1.0
    assert len(simulated.screen(singles, controls).wells) == len(singles) + len(controls)


def test_fingerprints_carry_the_class(simulated: SimulatedScreen) -> None:
    bits = simulated.compounds.fingerprints.astype(float)
    both = bits @ bits.T
    similarity = both / (bits.sum(1)[:, None] + bits.sum(1) - both)
    same = simulated.compound_class[:, None] == simulated.compound_class
    np.fill_diagonal(same, False)
    different = simulated.compound_class[:, None] != simulated.compound_class
    assert similarity[same].mean() > 2 * similarity[different].mean()


def test_compounds_without_structure() -> None:
    sim = simulate_screen(30, 3, 4, 0.05, seed=0, share_without_structure=0.4)
    assert 0 < (~sim.compounds.has_structure).sum() < 30


def test_smiles_are_valid_and_distinct() -> None:
    smiles = sample_smiles(400, seed=2)
    canonical = {Chem.MolToSmiles(Chem.MolFromSmiles(text)) for text in smiles}
    assert len(canonical) == 400


def test_morgan_fingerprints_carry_the_class() -> None:
    classes = compound_classes(60, 8, seed=2)
    make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    prints = [make.GetFingerprint(Chem.MolFromSmiles(s)) for s in sample_smiles(60, seed=2)]
    similarity = np.array([DataStructs.BulkTanimotoSimilarity(one, prints) for one in prints])
    same = classes[:, None] == classes
    np.fill_diagonal(same, False)
    assert similarity[same].mean() > 2 * similarity[classes[:, None] != classes].mean()


def test_too_many_structures_are_refused() -> None:
    with pytest.raises(ScreenError, match="scaffolds"):
        sample_smiles(5, 0, n_classes=40)
    with pytest.raises(ScreenError, match="distinct"):
        sample_smiles(5000, 0, n_classes=2)
