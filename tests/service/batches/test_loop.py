"""The whole way: measurements in, the next plates out, three times over."""

import numpy as np
import pytest

from models.pharmacology.simulate import simulate_screen
from models.screen import ABSENT, Candidates
from tests.lab import PAIR_HEADER, block_of, column
from tests.service.learning.bench import BLOCKS, measure, open_campaign, singles


def lab_work(lab, campaign, batch):
    """Run a batch on the bench: every block but the last comes back with results."""
    running = lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": "running"}, 1))
    blocks = [block_of(item) for item in running["items"]]
    measure(lab, campaign, [((a, b), line) for a, b, line in blocks[:-1]])
    return lab.ok(lab.patch(f"/v1/batches/{batch['id']}", {"status": "done"}, 2))


class TestThreeRounds:
    def test_nothing_is_measured_twice_and_nothing_is_lost(self, lab):
        campaign = open_campaign(lab, limits={"batch_size": 7})
        lab.measure(campaign["id"], *singles())
        measured, rounds = [], []
        for number in (1, 2, 3):
            recommendation = lab.recommend(campaign["id"], seed=number)
            assert recommendation["round"] == number
            assert recommendation["n_pool"] == len(BLOCKS) - len(measured)
            assert (recommendation["model_id"] is None) == (number == 1)
            batch = lab_work(lab, campaign, lab.ok(lab.accept(recommendation)))
            assert column(batch["items"], "status") == ["measured"] * 6 + ["missing"]
            fresh = [block_of(item) for item in batch["items"][:-1]]
            assert not set(fresh) & set(measured)
            measured += fresh
            rounds.append(batch["round"])
        assert rounds == [1, 2, 3]
        model = lab.train(campaign["id"])
        assert model["n_blocks"] == len(measured) == 18
        blocks = lab.ok(lab.get(f"/v1/models/{model['id']}/blocks"))["items"]
        found = {(*item["compound_names"], item["cell_line_name"]) for item in blocks}
        assert found == set(measured)

    def test_each_step_is_in_the_trail_in_order(self, lab):
        campaign = open_campaign(lab)
        recommendation = lab.recommend(campaign["id"])
        lab_work(lab, campaign, lab.ok(lab.accept(recommendation)))
        steps = [
            event["action"]
            for event in lab.events()
            if event["subject_type"] in ("campaign", "job", "recommendation", "batch", "submission")
        ]
        assert steps == [
            "campaign.created",
            "job.requested",
            "recommendation.created",
            "batch.created",
            "batch.changed",
            "submission.created",
            "batch.changed",
        ]


class TestRealTraining:
    """Twelve simulated compounds and the training that users get."""

    @pytest.mark.slow
    def test_a_round_learns_and_proposes(self, lab):
        truth = simulate_screen(12, 3, 3, 0.05, 1)
        names = [f"D{row:02}" for row in range(12)]
        compounds = [
            {"name": name, "smiles": smiles}
            for name, smiles in zip(names, truth.smiles, strict=True)
        ]
        registered = lab.ok(lab.post("/v1/compounds", {"compounds": compounds}))["items"]
        same = {item["compound"]["name"] for item in registered}
        assert len(same) == 12
        lab.cell_lines("L0", "L1", "L2")
        doses = [
            {"compound": name, "doses_um": truth.doses_um[row].tolist()}
            for row, name in enumerate(names)
        ]
        campaign = lab.campaign(
            compounds=doses, cell_lines=["L0", "L1", "L2"], doses_um=None, limits={"batch_size": 8}
        )
        pairs = np.array([(a, b) for a in range(12) for b in range(a + 1, 12)])
        everything = Candidates.of(
            np.repeat(pairs[:, 0], 3), np.repeat(pairs[:, 1], 3), np.tile(np.arange(3), len(pairs))
        )
        first = everything.select(np.random.default_rng(0).permutation(len(everything))[:40])
        for wells in (truth.single_agents(2, 1), truth.measure(first, 1, 2)):
            table = "\n".join(
                [PAIR_HEADER, *(_line(names, wells, row) for row in range(len(wells)))]
            )
            lab.ok(lab.submit(campaign["id"], f"{table}\n", repeats="replicates"))
        answer = lab.recommend(campaign["id"], seed=7)
        assert answer["n_pool"] == len(everything) - 40
        assert answer["n_batch"] == 8
        evidence = lab.ok(lab.get(f"/v1/models/{answer['model_id']}"))["evidence"]
        assert evidence["n_train"] + evidence["n_held_out"] == 40
        assert evidence["model"]["rmse"] > 0
        batch = lab.ok(lab.accept(answer))
        assert batch["n_items"] == 8


def _line(names, wells, row):
    cells = [f"L{wells.cell_line[row]}"]
    for place in range(2):
        compound = wells.compounds[row, place]
        present = compound != ABSENT
        cells += [names[compound], repr(float(wells.doses_um[row, place]))] if present else ["", ""]
    return ",".join([*cells, repr(float(wells.viability[row]))])
