"""RECOVER's protocol, run to the end on a small screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import recover_simulation
from benchmarks.recover_simulation import BATCH, one_line, print_costs, print_line, run
from models.evaluation.oneil import load_oneil_layout
from models.evaluation.replay import PastCampaign
from models.pharmacology.simulate import simulate_screen
from models.rounds import RoundRules
from models.screen import ABSENT


def test_a_campaign_runs_until_the_pool_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    simulated = simulate_screen(12, 1, 2, 0.05, 0)
    campaign = PastCampaign.of_simulation(simulated, "bliss_mean", 1, 0)
    rules = RoundRules(batch_size=BATCH, acquisition="random")
    finished = run("small", campaign, rules, 0, 0, True)
    assert finished.records[-1].measured == finished.pairs == 66
    assert finished.records[-1].top_found == 1.0
    assert [record.number for record in finished.records] == [0, 1, 2]
    print_line(finished)
    print_costs(finished)
    shown = capsys.readouterr().out
    assert "round   2:    66 measured, 1.00 found" in shown
    assert "66 pairs, 2 rounds" in shown


def test_one_line_of_a_screen_knows_nothing_of_the_others(tmp_path: Path) -> None:
    singles = ["cell_line,drug,conc_uM,replicate,viability"]
    pairs = ["cell_line,drug_row,drug_col,conc_row_uM,conc_col_uM,viability"]
    for line in ("X", "Y"):
        singles += [f"{line},{drug},1.0,1,0.5" for drug in "abc"]
        pairs += [f"{line},{one},{two},1.0,1.0,0.2" for one, two in ("ab", "bc")]
    pairs.append("Y,a,c,1.0,1.0,0.3")
    (tmp_path / "single_agents.csv.gz").write_bytes(_gzipped(singles))
    (tmp_path / "combinations.csv.gz").write_bytes(_gzipped(pairs))
    (tmp_path / "compounds.csv").write_text("drug,smiles,inchikey,targets\na,,,\nb,,,\nc,,,\n")
    folder = load_oneil_layout(tmp_path)
    alone = one_line(folder, folder.cell_line_names.index("Y"))
    assert alone.cell_line_names == ("Y",)
    assert len(alone.blocks) == 3
    assert len(alone.singles) == 3
    chosen = alone.screen(np.array([2])).wells
    assert chosen.compounds[chosen.n_compounds == 2].tolist() == [[0, 2, ABSENT]]
    assert set(chosen.cell_line) == {0}


def _gzipped(rows: list[str]) -> bytes:
    import gzip

    return gzip.compress(("\n".join(rows) + "\n").encode())


def test_columns_are_those_of_the_table_to_beat() -> None:
    assert recover_simulation.SHOWN == (1, 5, 10, 15, 20, 30, 50, 100)
    assert (BATCH, recover_simulation.EARLY) == (30, 20)
