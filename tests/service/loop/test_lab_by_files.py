"""Five rounds end to end through files only: recommended, dispensed, read, learned from, while
the service is killed again and again. Nothing is lost, nothing counts twice, and the truth comes
out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.screen import Candidates
from service.client import Unreachable
from service.client.folder import Outcome, WatchedFolder
from tests.contract.live import ROOT
from tests.lab import block_of
from tests.service.loop.lab import Bench, World
from tests.service.loop.live import Service
from tests.service.loop.reader import BAD, GOOD, PlateFile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEED = 11


@dataclass
class Loop:
    """The campaign, the bench, and the folder between them."""

    service: Service
    bench: Bench
    share: Path
    campaign: dict[str, Any] = field(default_factory=dict)
    rounds: int = 0

    @property
    def inbox(self) -> Path:
        return self.share / "inbox"

    def drop(self, name: str, content: bytes) -> Path:
        """As a careful instrument does: under another name first."""
        hidden = self.inbox / f".{name}.part"
        hidden.write_bytes(content)
        hidden.rename(self.inbox / name)
        return self.inbox / name

    def look(self) -> dict[str, Outcome]:
        """One look of a watcher of today, by file."""
        with self.service.client() as lab:
            found = WatchedFolder(self.share, lab, campaign="By files", settle_s=0.0).look()
        return {one.file: one for one in found}

    def take(self, *expected: str) -> None:
        """A look that must store all that is there."""
        found = self.look()
        assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(
            expected, "stored"
        ), found

    def error(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            (self.share / "errors" / f"{name}.error.json").read_text()
        )
        return found

    def issue(self, *, killed: bool = False) -> tuple[list[str], bytes]:
        """Recommendation, batch, plates, dispensed; returns barcodes and the machine's report."""
        self.rounds += 1
        identifier = self.campaign["id"]
        with self.service.client() as lab:
            job = lab.request_recommendation(identifier, {"seed": self.rounds})
        if killed:
            self.service.restart()
        with self.service.client() as lab:
            job = lab.wait(job, timeout_s=240)
            recommendation = lab.result(job, "recommendation")
            assert recommendation["round"] == self.rounds
            assert (recommendation["model_id"] is None) == (self.rounds == 1)
            batch = lab.accept_batch(identifier, recommendation["id"])
            assert batch["n_items"] >= 4
            lab.change_batch(batch["id"], {"status": "running"}, batch["version"])
            lab.lay_out_batch(batch["id"], self.bench.layout(self.campaign, self.rounds))
            barcodes = self.bench.take_maps(lab.get_batch_plate_maps(batch["id"]))
            report = self.bench.dispense(lab.get_pick_list(batch["id"]))
        assert len(barcodes) in (2, 4)
        return barcodes, report

    def finish(self) -> None:
        """The round is over: every block of its batch was measured."""
        self.check()
        with self.service.client() as lab:
            (batch,) = [
                row for row in lab.list_batches(self.campaign["id"]) if row["status"] == "running"
            ]
            done = lab.change_batch(batch["id"], {"status": "done"}, batch["version"])
        assert done["round"] == self.rounds
        assert {item["status"] for item in done["items"]} == {"measured"}

    def counted(self) -> list[dict[str, Any]]:
        with self.service.client() as lab:
            rows = list(lab.list_measurements(self.campaign["id"]))
        return [row for row in rows if not row["withdrawn"]]

    def check(self) -> None:
        """The service's measurements are exactly the lab's books."""
        names = {row["id"]: row["name"] for row in self.campaign["compounds"]}
        lines = {row["id"]: row["name"] for row in self.campaign["cell_lines"]}
        read = [code for code in self.bench.wells if code in self.bench.read]
        wanted = self.bench.to_be_counted(read)
        rows = self.counted()
        places = Counter((row["plate"], _plain(row["well"])) for row in rows)
        assert places == Counter(dict.fromkeys(wanted, 1))
        for row in rows:
            place = row["plate"], _plain(row["well"])
            assert row["raw_value"] == self.bench.read[row["plate"]].values[place[1]], place
            assert lines[row["cell_line"]] == wanted[place].line
            doses = {names[each["compound"]]: each["dose_um"] for each in row["doses"]}
            assert doses == pytest.approx(self.bench.doses(place), rel=1e-9), place
        issued = [w for code in read for w in self.bench.wells[code]]
        assert any(self.bench.dispenser.failed((w.barcode, w.name)) for w in issued)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    world = World.of(SEED)
    service = Service(tmp_path)
    loop = Loop(service, Bench(world, SEED), tmp_path / "share")
    loop.inbox.mkdir(parents=True)
    (loop.inbox / "nextround.json").write_text('{"rule": "plate-effect/1"}')
    try:
        with service.client() as lab:
            loop.campaign = world.enter(lab)
        yield loop
    finally:
        service.kill()


def test_five_rounds(loop: Loop) -> None:
    first_round(loop)
    loop.service.restart()
    second_round(loop)
    loop.service.restart()
    third_round(loop)
    loop.service.restart()
    fourth_round(loop)
    fifth_round(loop)
    assert loop.service.restarts == 5
    assert not [path for path in loop.inbox.iterdir() if path.name != "nextround.json"]
    every_batch_is_done(loop)
    every_plate_has_a_verdict(loop)
    viability_is_recovered(loop)
    scores_are_recovered(loop)


def first_round(loop: Loop) -> None:
    """A reading that is still being written is left alone until it is whole."""
    barcodes, report = loop.issue()
    loop.drop("transfers 1.csv", report)
    loop.take("transfers 1.csv")
    whole = loop.bench.measure(barcodes[0]).content
    growing = loop.inbox / "plate 1.csv"
    growing.write_bytes(whole[: len(whole) // 2])
    now = [0.0]
    with loop.service.client() as lab:
        folder = WatchedFolder(
            loop.share, lab, campaign="By files", settle_s=5.0, clock=lambda: now[0]
        )
        assert folder.look() == []
        now[0] = 4.9
        growing.write_bytes(whole)
        assert folder.look() == []
        now[0] = 9.8
        assert folder.look() == []
        now[0] = 10.0
        assert [one.verdict for one in folder.look()] == ["stored"]
    for number, barcode in enumerate(barcodes[1:], start=2):
        loop.drop(f"plate {number}.csv", loop.bench.measure(barcode).content)
    loop.take(*(f"plate {number}.csv" for number in range(2, len(barcodes) + 1)))
    loop.finish()


def second_round(loop: Loop) -> None:
    """Killed while it learns; a file comes twice, another one is broken."""
    barcodes, report = loop.issue(killed=True)
    loop.drop("transfers.csv", report)  # a name that came before
    loop.take("transfers.csv")
    files = [loop.bench.measure(code) for code in barcodes]
    loop.drop("a.csv", files[0].content)
    loop.take("a.csv")
    before = loop.counted()
    loop.drop("a.csv", files[0].content)
    loop.drop("copy of a.csv", files[0].content)
    assert {one.verdict for one in loop.look().values()} == {"existing"}
    assert loop.counted() == before
    broken = _broken(files[1])
    loop.drop("b.csv", broken)
    assert [one.verdict for one in loop.look().values()] == ["refused"]
    error = loop.error("b.csv")["errors"][0]
    assert "1.2.3" in broken.decode().splitlines()[error["row"] - 1]
    assert loop.counted() == before
    for number, each in enumerate(files[1:]):
        loop.drop(f"{'bcde'[number]}.csv", each.content)
    loop.take(*(f"{letter}.csv" for letter in "bcde"[: len(files) - 1]))
    loop.finish()


def third_round(loop: Loop) -> None:
    """A plate that quality control fails does not count, until it was read again."""
    barcodes, report = loop.issue()
    loop.drop("transfers 3.csv", report)
    bad = loop.bench.measure(barcodes[0], BAD)
    del loop.bench.read[barcodes[0]]
    loop.drop("bad.csv", bad.content)
    found = loop.look()
    assert found["transfers 3.csv"].verdict == "stored"
    assert found["bad.csv"].verdict == "refused"
    loop.check()
    error = loop.error("bad.csv")
    assert "failed" in [each["code"] for each in error["errors"]]
    assert {each["verdict"] for each in error["errors"]} == {"fail"}
    with loop.service.client() as lab:
        upload = lab.get_upload(error["upload"])
        assert (upload["state"], upload["submission_id"]) == ("parsed", None)
    names = [f"run 3 {code}.csv" for code in barcodes]
    for name, code in zip(names, barcodes, strict=True):
        loop.drop(name, loop.bench.measure(code).content)
    loop.take(*names)
    loop.finish()


def fourth_round(loop: Loop) -> None:
    """The dispenser's report comes after a reading, and the service is away while files come."""
    barcodes, report = loop.issue()
    loop.drop("early.csv", loop.bench.measure(barcodes[0]).content)
    loop.take("early.csv")
    loop.drop("report.csv", report)
    names = [f"late {code}.csv" for code in barcodes[1:]]
    for name, code in zip(names, barcodes[1:], strict=True):
        loop.drop(name, loop.bench.measure(code).content)
    loop.service.kill()
    with pytest.raises(Unreachable):
        loop.look()
    assert all((loop.inbox / name).exists() for name in ("report.csv", *names))
    loop.service.start()
    loop.take("report.csv", *names)
    loop.finish()


def fifth_round(loop: Loop) -> None:
    """All plates in one file, by the command that a cron job would run, in one go."""
    barcodes, report = loop.issue()
    loop.drop("echo 5.csv", report)
    loop.drop("run 5.csv", _together([loop.bench.measure(code) for code in barcodes]))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTROUND_KEY": loop.service.key}
    command = [sys.executable, "-m", "service.cli", "watch", str(loop.share), "--once"]
    command += ["--url", loop.service.url, "--campaign", "By files", "--settle", "0.1"]
    done = subprocess.run(command, env=env, cwd=loop.share, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert len(done.stdout.splitlines()) == 2
    loop.finish()


def every_batch_is_done(loop: Loop) -> None:
    """One recommendation and one batch a round, and no block is in two of them."""
    with loop.service.client() as lab:
        assert len(list(lab.list_recommendations(loop.campaign["id"]))) == 5
        batches = [lab.get_batch(row["id"]) for row in lab.list_batches(loop.campaign["id"])]
    items = [item for batch in batches for item in batch["items"]]
    assert [batch["round"] for batch in batches] == [1, 2, 3, 4, 5]
    assert len({block_of(item) for item in items}) == len(items)


def every_plate_has_a_verdict(loop: Loop) -> None:
    with loop.service.client() as lab:
        plates = list(lab.list_plates(campaign=loop.campaign["id"]))
        assert {plate["barcode"] for plate in plates} == set(loop.bench.wells)
        assert {plate["status"] for plate in plates} == {"measured"}
        for plate in plates:
            last = lab.get_plate_quality(plate["id"])["results"][-1]
            assert last["verdict"] in ("pass", "warn"), last["reasons"]
            assert last["rule"] == "plate-effect/1"
        states = Counter(upload["state"] for upload in lab.list_uploads())
    assert (states["parsed"], states["refused"]) == (1, 1)  # the bad plate, the broken file


def viability_is_recovered(loop: Loop) -> None:
    """Within the reader's own noise, gradients of 12 and 18 % notwithstanding."""
    wells = {(w.barcode, w.name): w for listed in loop.bench.wells.values() for w in listed}
    error = np.array(
        [
            row["viability"] - loop.bench.true_viability(wells[row["plate"], _plain(row["well"])])
            for row in loop.counted()
        ]
    )
    print(f"{len(error)} wells, median {np.median(error):.4f}, spread {_spread(error):.4f}")
    assert abs(np.median(error)) < 0.01
    assert _spread(error) < 1.5 * GOOD.noise_cv
    assert np.mean(np.abs(error) > 0.25) < 3 * GOOD.failed


def scores_are_recovered(loop: Loop) -> None:
    with loop.service.client() as lab:
        job = lab.wait(lab.train_model(loop.campaign["id"], {"seed": 1}), timeout_s=240)
        model = lab.result(job, "model")
        blocks = lab._http.link(f"/v1/models/{model['id']}/blocks")["items"]
    truth = loop.bench.world.snapped(loop.campaign)
    place = {name: row for row, name in enumerate(truth.compounds.ids)}
    pairs = np.array([[place[name] for name in block["compound_names"]] for block in blocks])
    lines = [truth.cell_lines.ids.index(block["cell_line_name"]) for block in blocks]
    expected = truth.true_score(Candidates.of(*pairs.T, np.array(lines)), "bliss_mean")
    measured = np.array([block["score"] for block in blocks])
    error = measured - expected
    deviates = error / np.array([block["standard_error"] for block in blocks])
    print(f"{len(blocks)} blocks, r {np.corrcoef(measured, expected)[0, 1]:.3f}, "
          f"mean {error.mean():.2f}, rmse {np.sqrt((error**2).mean()):.2f}, "
          f"z {np.sqrt((deviates**2).mean()):.2f}, sd of truth {expected.std():.2f}")  # fmt: skip
    assert len(blocks) == len(set(map(tuple, np.column_stack([np.sort(pairs), lines]))))
    assert len(blocks) >= 20
    assert np.corrcoef(measured, expected)[0, 1] > 0.87
    assert abs(error.mean()) < 1.0
    assert np.sqrt((error**2).mean()) < 2.2
    assert 0.5 < np.sqrt((deviates**2).mean()) < 1.8  # as wrong as they say they are


def _spread(values: np.ndarray) -> float:
    """Robust standard deviation: a few wells are dead."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _plain(well: str) -> str:
    return f"{well[0]}{int(well[1:])}"


def _broken(file: PlateFile) -> bytes:
    """One reading that is no number."""
    value = str(sorted(file.values.values())[len(file.values) // 2]).encode()
    assert value in file.content
    return file.content.replace(value, b"1.2.3", 1)


def _together(files: list[PlateFile]) -> bytes:
    """One file with all plates, as the instrument writes a run."""
    heads = [each.content.partition(b"\r\n\r\nBasic assay information")[0] for each in files]
    tail = files[0].content[len(heads[0]) :]
    return b"\r\n".join(heads) + tail
