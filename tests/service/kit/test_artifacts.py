"""Files named by their content: written whole, read as they were, swept when unused."""

import os
import time

import pytest

from service.kit.artifacts import ArtifactError, ArtifactStore
from tests.lab import at_once

EMPTY_JSON = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.json"


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(str(tmp_path / "artifacts"))


def files(store):
    return sorted(path.name for path in store.root.glob("*/*"))


def test_the_name_is_the_hash(store):
    assert store.put(b"{}", "json") == EMPTY_JSON
    assert store.get(EMPTY_JSON) == b"{}"
    assert store.exists(EMPTY_JSON)


def test_the_same_content_twice_is_one_file(store):
    assert store.put(b"{}", "json") == store.put(b"{}", "json")
    assert files(store) == [EMPTY_JSON]


def test_many_writers_at_once_leave_one_whole_file(store):
    content = os.urandom(1 << 20)
    names = at_once(*[lambda: store.put(content, "parquet")] * 6)
    assert len(set(names)) == 1
    assert files(store) == [names[0]]
    assert store.get(names[0]) == content


def test_a_damaged_file_is_not_served(store):
    name = store.put(b"{}", "json")
    (store.root / name[:2] / name).write_bytes(b"[]")
    with pytest.raises(ArtifactError, match="damaged"):
        store.get(name)


def test_a_missing_file_says_where_it_was_looked_for(store):
    with pytest.raises(ArtifactError, match=r"missing from .*artifacts"):
        store.get(EMPTY_JSON)
    assert not store.exists(EMPTY_JSON)


@pytest.mark.parametrize(
    "name",
    ["", "x.json", "../../etc/passwd", f"{'0' * 64}.exe", f"{'0' * 63}/.json", f"{'G' * 64}.json"],
)
def test_names_that_are_none(store, name):
    with pytest.raises(ArtifactError, match="not the name"):
        store.get(name)


def test_only_known_kinds_are_kept(store):
    with pytest.raises(ArtifactError, match="not 'pickle'"):
        store.put(b"", "pickle")
    assert files(store) == []


@pytest.mark.parametrize("url", ["s3://bucket/x", "http://host/x", "file://other-host/x"])
def test_places_that_are_none(url):
    with pytest.raises(ArtifactError, match="folder"):
        ArtifactStore(url)


def test_a_file_url_with_blanks(tmp_path):
    store = ArtifactStore((tmp_path / "my files").as_uri())
    assert store.root == tmp_path / "my files"


def test_sweeping_keeps_what_is_needed_or_young(store):
    kept, old, young = (store.put(text, "csv") for text in (b"kept", b"old", b"young"))
    past = time.time() - 1000
    for name in (kept, old):
        os.utime(store.root / name[:2] / name, (past, past))
    assert store.sweep([kept], older_than_s=500) == 1
    assert files(store) == sorted([kept, young])
    with pytest.raises(ArtifactError):
        store.get(old)


def test_what_is_written_again_is_young_again(store):
    name = store.put(b"{}", "json")
    past = time.time() - 1000
    os.utime(store.root / name[:2] / name, (past, past))
    store.put(b"{}", "json")
    assert store.sweep([], older_than_s=500) == 0
