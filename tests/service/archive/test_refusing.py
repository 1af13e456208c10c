"""What is no archive, or a hostile one, leaves nothing behind."""

import io
import json
import struct
import zipfile

import pytest

from service.archive.content import BY_NAME
from service.archive.reading import MAX_MEMBERS
from service.kit.jobs import JobContext
from tests.service.archive.world import bring_in, export, finish, send, small_world, tampered


@pytest.fixture
def world(lab):
    return small_world(lab)


@pytest.fixture
def content(lab, world):
    return export(lab, world["id"])


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files:
            archive.writestr(name, body)
    return packed.getvalue()


def edit(table, change):
    """A change of the rows of one table."""

    def apply(files):
        path = f"tables/{table}.ndjson"
        rows = [json.loads(line) for line in files[path].splitlines()]
        change(rows)
        files[path] = "".join(json.dumps(row) + "\n" for row in rows).encode()

    return apply


def edit_text(path, old, new):
    def apply(files):
        assert old in files[path]
        files[path] = files[path].replace(old, new, 1)

    return apply


def test_what_is_no_archive(lab, subtests):
    bomb = zipped([("manifest.json", "{}"), ("audit.ndjson", b"\n" * 10_000_000)])
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 10, 0, 0)
    good = {"format": "nextround-archive", "version": 1}
    cases = {
        "empty": (b"", "not a ZIP"),
        "text": (b"a,b\n1,2\n", "not a ZIP"),
        "broken": (zipped([("manifest.json", "{}")])[:-30], "not a ZIP"),
        "no manifest": (zipped([("audit.ndjson", "")]), "no manifest.json"),
        "format": (zipped([("manifest.json", '{"format": "x"}')]), "format"),
        "array": (zipped([("manifest.json", "[]")]), "format"),
        "deep": (zipped([("manifest.json", "[" * 100_000)]), "not usable JSON"),
        "newer": (zipped([("manifest.json", json.dumps({**good, "version": 2}))]), "version 2"),
        "shape": (zipped([("manifest.json", json.dumps(good))]), "incomplete"),
        "up": (zipped([("../../etc/passwd", "x")]), "does not belong"),
        "absolute": (zipped([("/etc/passwd", "x")]), "does not belong"),
        "windows": (zipped([("files\\x.csv", "x")]), "does not belong"),
        "bomb": (bomb, "would unpack"),
        "many": (end, f"more than {MAX_MEMBERS:,}"),
    }
    for name, (body, words) in cases.items():
        with subtests.test(name), lab.untouched():
            problem = lab.refused(send(lab, body), 422)
            assert words in problem["detail"], problem["detail"]
            assert problem["detail"].startswith("Nothing was imported")


def test_too_much_of_it(lab, content):
    lab.parts.settings.max_archive_unpacked_bytes = 10_000
    assert "more than 10,000" in lab.refused(send(lab, content), 422)["detail"]
    lab.parts.settings.max_archive_bytes = 1_000
    lab.refused(send(lab, content), 413)


def first(**changes):
    return lambda rows: rows[0].update(changes)


def grown(rows):
    rows.append(dict(rows[0]))


ALIEN = "cam_00000000000000000000000000"
DISHONEST = {
    "a flipped byte": (edit_text("audit.ndjson", b"compound", b"Compound"), "is damaged"),
    "a row too many": (edit("campaign_cell_line", grown), "is damaged"),
}
HONEST = {
    "a row too many": (edit("campaign_cell_line", grown), "rows, the manifest says otherwise"),
    "a column": (edit("campaign", first(secret=1)), "does not know"),
    "no name": (edit("campaign", first(name=None)), "has no name"),
    "a long name": (edit("campaign", first(name="n" * 201)), "no text"),
    "a number": (edit("measurement", first(viability="0.5")), "no number"),
    "a time": (edit("campaign", first(created_at="2026-01-01T00:00:00")), "no zone"),
    "a big number": (edit("campaign", first(batch_size=2**40)), "32 bits"),
    "another campaign": (edit("submission", first(campaign_id=ALIEN)), "another campaign"),
    "no file": (edit("submission", first(original=f"{'0' * 64}.csv")), "not in the archive"),
    "a status": (edit("campaign", first(status="gone")), "breaks a rule"),
    "no such line": (edit("measurement", first(cell_line_id=f"cel_{'0' * 26}")), "refer"),
    "twice": (edit_text("tables/campaign.ndjson", b"{", b'{"id":"x",'), "same key twice"),
    "NUL": (edit_text("tables/campaign.ndjson", b'"Campaign"', b'"\\u0000"'), "NUL"),
    "half a character": (
        edit_text("tables/campaign.ndjson", b'"Campaign"', b'"\\ud800"'), "not usable JSON"),
    "no UTF-8": (edit_text("tables/campaign.ndjson", b'"Campaign"', b'"\xff"'), "not UTF-8"),
    "cut off": (lambda files: files.update(
        {"tables/campaign.ndjson": files["tables/campaign.ndjson"][:-1]}), "cut off"),
}  # fmt: skip


def test_what_was_tampered_with(content, elsewhere, subtests):
    there = elsewhere("sqlite")
    cases = [(name, case, False) for name, case in DISHONEST.items()]
    cases += [(name, case, True) for name, case in HONEST.items()]
    for name, (change, words), honest in cases:
        with subtests.test(name, honest=honest):
            failed = bring_in(there, tampered(content, change, honest=honest))
            assert failed["status"] == "failed", name
            assert words in failed["problem"]["detail"], failed["problem"]["detail"]
            assert failed["campaign_id"] is None
    held = {name for name, n in there.rows().items() if n}
    assert not held & set(BY_NAME)


def test_tampering_as_the_test_does_it_is_not_what_is_refused(content, elsewhere):
    there = elsewhere("sqlite")
    same = tampered(content, lambda files: None, honest=True)
    assert bring_in(there, same)["status"] == "succeeded"


def test_files_that_are_not_listed_and_listed_ones_that_are_missing(lab, content):
    name = f"files/{'a' * 64}.csv"
    with lab.untouched():
        more = tampered(content, lambda files: files.update({name: b"x"}), honest=False)
        assert "does not list exactly" in lab.refused(send(lab, more), 422)["detail"]
        less = tampered(content, lambda files: files.pop("audit.ndjson"), honest=False)
        assert "does not list exactly" in lab.refused(send(lab, less), 422)["detail"]


def test_a_file_under_a_hash_that_is_not_its_own(content, elsewhere):
    def change(files):
        (name,) = [name for name in files if name.startswith("files/")][:1]
        files[name] += b"\n"

    failed = bring_in(elsewhere("sqlite"), tampered(content, change, honest=True))
    assert "not named by its hash" in failed["problem"]["detail"]


def test_without_the_scope(lab, world):
    narrow = lab.with_scopes("read", "campaigns:write", "measurements:write")
    lab.refused(narrow.post(f"/v1/campaigns/{world['id']}/archives", {}), 403)
    lab.refused(send(narrow, b""), 403)


def test_cancelled_while_it_is_read(content, elsewhere, monkeypatch):
    """Nothing of it is there, and the same file can be sent again."""
    there = elsewhere("sqlite")
    asked = there.ok(send(there, content))

    with monkeypatch.context() as patch:
        patch.setattr("service.kit.jobs.context._POLL_S", 0.0)
        patch.setattr(
            JobContext, "progress", lambda *_: there.delete(f"/v1/jobs/{asked['job_id']}")
        )
        cancelled = finish(there, asked)
    assert (cancelled["status"], cancelled["campaign_id"]) == ("cancelled", None)
    assert there.rows()["compound"] == 0
    assert bring_in(there, content)["status"] == "succeeded"
