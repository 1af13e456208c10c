"""Watched folders: nothing lost, nothing twice, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.client import Nextround, Refused
from service.client import folder as the_module
from service.client.folder import Outcome, WatchedFolder, watch
from service.client.folder_rules import is_finished_name
from service.kit.idempotency.tables import IdempotentAnswer
from tests.lab import PAIR_HEADER, Lab

TABLE = f"{PAIR_HEADER}\nX,A,0.1,B,1,0.5\nX,A,0.1,,,0.75\n"
BARE = "cell_line,compound_1,dose_1_um,viability\nX,A,0.1,50\n"


class Killed(BaseException):
    """The process ends here."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "share"


@pytest.fixture
def campaign(lab: Lab) -> dict[str, Any]:
    return lab.campaign(name="Screen 7")


@pytest.fixture
def watched(root: Path, client: Nextround, campaign: dict[str, Any]) -> WatchedFolder:
    return WatchedFolder(root, client, campaign="Screen 7", settle_s=0.0)


def files(root: Path, place: str) -> list[str]:
    folder = root / place
    return sorted(
        str(p.relative_to(folder))
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith((".receipt.json", ".error.txt"))
    )


def verdicts(outcomes: list[Outcome]) -> list[str]:
    return [outcome.verdict for outcome in outcomes]


class TestTaking:
    def test_a_file_is_stored_and_archived(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        (root / "inbox" / "run1.csv").write_text(TABLE)
        assert verdicts(watched.look()) == ["stored"]
        assert (files(root, "inbox"), files(root, "archive")) == ([], ["run1.csv"])
        assert (root / "archive" / "run1.csv").read_text() == TABLE
        receipt = json.loads((root / "archive" / "run1.csv.receipt.json").read_text())
        (submission,) = lab.every(f"/v1/campaigns/{campaign['id']}/submissions")
        assert receipt["submission"] == submission["id"]
        assert (receipt["sha256"], receipt["measurements"]) == (submission["sha256"], 2)
        assert lab.get(f"/v1/submissions/{submission['id']}/original").text == TABLE
        assert watched.look() == []

    def test_the_same_file_again_changes_nothing(
        self, lab: Lab, root: Path, watched: WatchedFolder
    ) -> None:
        (root / "inbox" / "run1.csv").write_text(TABLE)
        watched.look()
        before = lab.rows()
        (root / "inbox" / "run1.csv").write_text(TABLE)
        assert verdicts(watched.look()) == ["stored"]  # the same answer to the same request
        for name in ("run1.csv", "copy of run1.csv"):
            (root / "inbox" / name).write_text(TABLE)
        with lab.parts.database.writing() as session:  # as after a day
            session.query(IdempotentAnswer).delete()
        outcomes = watched.look()
        assert verdicts(outcomes) == ["existing", "existing"]
        after = lab.rows()
        assert after["measurement"] == before["measurement"]
        assert after["submission"] == before["submission"]
        assert files(root, "archive") == ["copy of run1.csv", "run1.csv"]

    def test_another_file_of_the_same_name(self, root: Path, watched: WatchedFolder) -> None:
        (root / "inbox" / "run.csv").write_text(TABLE)
        watched.look()
        (root / "inbox" / "run.csv").write_text(TABLE.replace("0.75", "0.7"))
        watched.look()
        first, second = files(root, "archive")
        assert second == "run.csv"
        assert first.startswith("run-")
        assert (root / "archive" / second).read_text() == TABLE

    def test_json(self, lab: Lab, root: Path, watched: WatchedFolder) -> None:
        body = {"quantity": "viability", "unit": "fraction", "measurements": [
            {"cell_line": "X", "doses": [], "value": 1.0}]}  # fmt: skip
        (root / "inbox" / "nextround.json").write_text('{"unit": "percent"}')
        (root / "inbox" / "run.json").write_text(json.dumps(body))
        assert verdicts(watched.look()) == ["stored"]
        assert files(root, "inbox") == ["nextround.json"]


class TestWaiting:
    def test_a_growing_file_is_left_alone(
        self, root: Path, client: Nextround, campaign: dict[str, Any]
    ) -> None:
        clock = Clock()
        watched = WatchedFolder(root, client, campaign="Screen 7", settle_s=5.0, clock=clock)
        path = root / "inbox" / "run.csv"
        path.write_text(TABLE[:50])
        assert watched.look() == []
        clock.now += 4.0
        assert watched.look() == []
        path.write_text(TABLE)
        clock.now += 4.0
        assert watched.look() == []  # it has changed: the wait begins again
        clock.now += 4.9
        assert watched.look() == []
        clock.now += 0.2
        assert verdicts(watched.look()) == ["stored"]

    @pytest.mark.parametrize(
        "name",
        [".run.csv", "~run.csv", "~$run.csv", "run.csv~", "run.csv.part", "run.csv.tmp",
         "run.csv.filepart", "run.csv.crdownload", "RUN.CSV.PARTIAL", "nextround.json"],
    )  # fmt: skip
    def test_temporary_names(self, root: Path, watched: WatchedFolder, name: str) -> None:
        assert not is_finished_name(name)
        (root / "inbox" / name).write_text("{}")
        assert watched.look() == []

    def test_the_service_is_away(
        self, root: Path, watched: WatchedFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "inbox" / "run.csv").write_text(TABLE)
        heard: list[str] = []
        looks = iter([False, False, True, True])
        real = the_module.send

        def away(*given: Any) -> Any:
            monkeypatch.setattr(the_module, "send", real)
            raise the_module.Unreachable("The service cannot be reached.")

        monkeypatch.setattr(the_module, "send", away)
        watch(watched, every_s=0.01, is_over=lambda: next(looks), tell=heard.append)
        assert "Files wait" in heard[0]
        assert files(root, "inbox") == ["run.csv"]
        assert verdicts(watched.look()) == ["stored"]

    def test_a_key_that_may_not(self, lab: Lab, root: Path, wire: Any) -> None:
        lab.campaign(name="Screen 7")
        narrow = lab.with_scopes("read")
        with Nextround("http://testserver", narrow.key, transport=wire, pause_s=0.0) as client:
            watched = WatchedFolder(root, client, campaign="Screen 7", settle_s=0.0)
            (root / "inbox" / "run.csv").write_text(TABLE)
            with pytest.raises(Refused, match="measurements:write"):
                watch(watched, every_s=0.01, is_over=lambda: False, tell=lambda _: None)
        assert files(root, "inbox") == ["run.csv"]

    def test_settings_that_cannot_be_read(self, root: Path, watched: WatchedFolder) -> None:
        """Half-written, or wrong: no fault of the files, which wait."""
        (root / "inbox" / "run.csv").write_text(TABLE)
        config = root / "inbox" / "nextround.json"
        for text in ('{"campaign": ', "[]", '{"colour": "red"}', '{"campaign": 7}',
                     '{"file_names": "("}', '{"file_names": "x"}'):  # fmt: skip
            config.write_text(text)
            (outcome,) = watched.look()
            assert (outcome.verdict, str(config) in outcome.detail) == ("waiting", True), text
        config.unlink()
        assert verdicts(watched.look()) == ["stored"]


class TestRefusing:
    def test_a_bad_file_is_told_row_by_row(self, root: Path, watched: WatchedFolder) -> None:
        bad = TABLE.replace("0.75", "lots")
        (root / "inbox" / "run.csv").write_text(bad)
        assert verdicts(watched.look()) == ["refused"]
        assert (files(root, "inbox"), files(root, "archive")) == ([], [])
        assert files(root, "errors") == ["run.csv", "run.csv.error.json"]
        report = json.loads((root / "errors" / "run.csv.error.json").read_text())
        assert report["file"] == "run.csv"
        assert (report["errors"][0]["row"], report["errors"][0]["column"]) == (
            3,
            "viability_fraction",
        )
        text = (root / "errors" / "run.csv.error.txt").read_text()
        assert "line 3, column viability_fraction" in text

    def test_the_scale_is_not_guessed(self, lab: Lab, root: Path, watched: WatchedFolder) -> None:
        (root / "inbox" / "run.csv").write_text(BARE)
        assert verdicts(watched.look()) == ["refused"]
        (root / "inbox" / "nextround.json").write_text('{"unit": "percent"}')
        (root / "inbox" / "run.csv").write_text(BARE)
        assert verdicts(watched.look()) == ["stored"]

    @pytest.mark.parametrize("name", ["run.xlsx", "run", "photo.png"])
    def test_what_is_not_read(self, root: Path, watched: WatchedFolder, name: str) -> None:
        (root / "inbox" / name).write_bytes(b"PK")
        assert verdicts(watched.look()) == ["refused"]
        assert name in files(root, "errors")

    def test_an_empty_file(self, root: Path, watched: WatchedFolder) -> None:
        (root / "inbox" / "run.csv").write_bytes(b"")
        assert verdicts(watched.look()) == ["refused"]

    def test_a_file_that_is_too_large(
        self, root: Path, watched: WatchedFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(the_module, "MAX_BYTES", 10)
        (root / "inbox" / "run.csv").write_text(TABLE)
        (outcome,) = watched.look()
        assert (outcome.verdict, "larger" in outcome.detail) == ("refused", True)


class TestCampaigns:
    def test_a_folder_below_is_a_campaign(
        self, lab: Lab, root: Path, watched: WatchedFolder
    ) -> None:
        other = lab.campaign(name="Screen 8")
        (root / "inbox" / "Screen 8").mkdir()
        (root / "inbox" / "Screen 8" / "run.csv").write_text(TABLE)
        assert verdicts(watched.look()) == ["stored"]
        assert len(lab.wells(other["id"])) == 2
        assert files(root, "archive") == ["Screen 8/run.csv"]

    def test_its_settings_go_before_those_above(
        self, lab: Lab, root: Path, watched: WatchedFolder, campaign: dict[str, Any]
    ) -> None:
        below = root / "inbox" / "reader 2"
        below.mkdir()
        (root / "inbox" / "nextround.json").write_text('{"unit": "fraction"}')
        (below / "nextround.json").write_text(
            json.dumps({"campaign": campaign["id"], "unit": "percent"})
        )
        (below / "run.csv").write_text(BARE)
        assert verdicts(watched.look()) == ["stored"]
        assert lab.wells(campaign["id"])[0]["viability"] == 0.5

    def test_names_of_files(self, lab: Lab, root: Path, watched: WatchedFolder) -> None:
        other = lab.campaign(name="S9")
        rule = {"file_names": "(?P<campaign>[^_]+)_plate.*"}
        (root / "inbox" / "nextround.json").write_text(json.dumps(rule))
        (root / "inbox" / "S9_plate1.csv").write_text(TABLE)
        (root / "inbox" / "plate2.csv").write_text(TABLE)
        assert verdicts(watched.look()) == ["stored", "refused"]
        assert len(lab.wells(other["id"])) == 2

    def test_nobody_says_which(self, root: Path, client: Nextround, campaign: Any) -> None:
        watched = WatchedFolder(root, client, settle_s=0.0)
        (root / "inbox" / "run.csv").write_text(TABLE)
        (outcome,) = watched.look()
        assert (outcome.verdict, "which campaign" in outcome.detail) == ("refused", True)

    def test_unknown_and_ambiguous_names(
        self, lab: Lab, root: Path, watched: WatchedFolder
    ) -> None:
        lab.campaign(name="Screen 7")
        (root / "inbox" / "Screen 0").mkdir()
        (root / "inbox" / "Screen 0" / "a.csv").write_text(TABLE)
        (root / "inbox" / "b.csv").write_text(TABLE)
        unknown, ambiguous = watched.look()
        assert "no campaign 'Screen 0'" in unknown.detail
        assert "2 campaigns are named 'Screen 7'" in ambiguous.detail


class TestCrashing:
    """Stopped at any point, started again: one submission, one file, in its place."""

    @pytest.mark.parametrize(
        "where", ["send", "_free", "_write", "_rename", "find_campaign", "_read"]
    )
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
    def test_killed(
        self,
        lab: Lab,
        root: Path,
        watched: WatchedFolder,
        campaign: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        where: str,
        after: bool,
        good: bool,
    ) -> None:
        content = TABLE if good else TABLE.replace("0.75", "lots")
        (root / "inbox" / "run.csv").write_text(content)
        with monkeypatch.context() as patch:
            _kill_in(patch, where, after)
            with pytest.raises(Killed):
                watched.look()
        again = WatchedFolder(root, watched._lab, campaign="Screen 7", settle_s=0.0)
        again.look()
        place, other = ("archive", "errors") if good else ("errors", "archive")
        assert [name for name in files(root, place) if name == "run.csv"] == ["run.csv"]
        assert (files(root, "inbox"), files(root, other)) == ([], [])
        assert (root / place / "run.csv").read_text() == content
        assert len(lab.wells(campaign["id"])) == (2 if good else 0)
        assert len(lab.every(f"/v1/campaigns/{campaign['id']}/submissions")) == int(good)

    @pytest.mark.parametrize("moment", ["_free", "_rename"])
    def test_a_newer_file_takes_its_name_meanwhile(
        self,
        lab: Lab,
        root: Path,
        watched: WatchedFolder,
        campaign: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        moment: str,
    ) -> None:
        """Between storing and moving, and in the very moment of the move."""
        path = root / "inbox" / "run.csv"
        newer = TABLE.replace("0.75", "0.7")
        path.write_text(TABLE)

        def overwrite() -> None:
            stat = path.stat()
            path.write_text(newer)
            if moment == "_rename":
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 5_000_000))

        with monkeypatch.context() as patch:
            _do_before(patch, moment, overwrite)
            (outcome,) = watched.look()
        assert outcome.verdict == "waiting"
        assert path.read_text() == newer
        watched.look()
        assert files(root, "inbox") == []
        values = sorted(well["viability"] for well in lab.wells(campaign["id"]))
        assert values.count(0.75) == values.count(0.7) == 1


def _kill_in(patch: pytest.MonkeyPatch, where: str, after: bool) -> None:
    real: Callable[..., Any] = getattr(the_module, where)

    def dies(*given: Any, **more: Any) -> Any:
        if after:
            with contextlib.suppress(Refused):
                real(*given, **more)
        raise Killed

    patch.setattr(the_module, where, dies)


def _do_before(patch: pytest.MonkeyPatch, where: str, action: Callable[[], None]) -> None:
    real: Callable[..., Any] = getattr(the_module, where)
    done: list[bool] = []

    def first(source: Any, target: Any, *more: Any) -> Any:
        if not done and (where != "_rename" or str(source).endswith("run.csv")):
            done.append(True)
            action()
        return real(source, target, *more)

    patch.setattr(the_module, where, first)
