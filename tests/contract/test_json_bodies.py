"""Bodies that are not quite JSON: refused in words, never stored, never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.live import LiveServer
from tests.contract.seeds import Known
from tests.contract.wire import Answer, exchange, with_body

BAD_JSON = {
    "NaN": (b'{"compounds":[{"name":"a","x":NaN}]}', "NaN is not a JSON number"),
    "infinity": (b'{"compounds":[{"name":-Infinity}]}', "-Infinity is not a JSON number"),
    "key twice": (b'{"compounds":[{"name":"a","name":"b"}]}', "same key twice"),
    "key twice, outside": (b'{"compounds":[],"compounds":[{"name":"b"}]}', "same key twice"),
    "10,000 brackets": (b"[" * 10_000, "nested too deeply"),
    "10,000 closed brackets": (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
    "10,000 objects": (b'{"a":' * 10_000, "nested too deeply"),
    "byte order mark": (b'\xef\xbb\xbf{"compounds":[{"name":"a"}]}', "byte order mark"),
    "UTF-16": ('{"compounds":[{"name":"a"}]}'.encode("utf-16"), "not UTF-8"),
    "latin-1": ('{"compounds":[{"name":"é"}]}'.encode("latin-1"), "not UTF-8"),
    "overlong": (b'{"compounds":[{"name":"\xc0\xaf"}]}', "not UTF-8"),
    "surrogate bytes": (b'{"compounds":[{"name":"\xed\xa0\x80"}]}', "not UTF-8"),
    "raw control character": (b'{"compounds":[{"name":"a\x00b"}]}', "line 1"),
    "cut off": (b'{"compounds":[{"name":"a"', "line 1"),
    "two documents": (b'{"compounds":[{"name":"a"}]} {}', "Extra data"),
    "5,000 digits": (b'{"compounds":' + b"9" * 5000 + b"}", "not valid JSON"),
    "only blanks": (b"  \n ", "not valid JSON"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "not UTF-8"),
}

BAD_VALUES = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"compounds"',
    "unknown key": b'{"compounds":[{"name":"a"}],"dryrun":true}',
    "lone surrogate": b'{"compounds":[{"name":"\\ud800"}]}',
    "lone surrogate in a key": b'{"compounds":[{"name":"a","\\udfff":1}]}',
    "lone surrogate in an outer key": b'{"\\ud800":1}',
    "escaped NUL": b'{"compounds":[{"name":"a\\u0000b"}]}',
    "number for text": b'{"compounds":[{"name":1}]}',
    "blank": b'{"compounds":[{"name":"   "}]}',
}


@pytest.fixture(autouse=True)
def nothing_is_written(server: LiveServer, known: Known) -> Iterator[None]:
    """After each test: no table has grown, nothing unexpected was logged."""
    before, logged = server.row_counts(), len(server.output)
    yield
    assert server.row_counts() == before
    assert "Traceback" not in server.output[logged:]


@pytest.mark.parametrize("name", BAD_JSON)
def test_what_is_not_json(server: LiveServer, name: str) -> None:
    body, message = BAD_JSON[name]
    answer = _post(server, "/v1/compounds", body)
    assert answer.status == 400, answer.body
    assert message in answer.problem["detail"]


@pytest.mark.parametrize("name", BAD_JSON)
def test_what_is_not_json_in_a_submission(server: LiveServer, known: Known, name: str) -> None:
    body, message = BAD_JSON[name]
    answer = _post(server, f"/v1/campaigns/{known['campaign_id'][0]}/submissions", body)
    assert answer.status == 400, answer.body
    assert message in answer.problem["detail"]


@pytest.mark.parametrize("name", BAD_VALUES)
def test_json_of_the_wrong_shape(server: LiveServer, name: str) -> None:
    answer = _post(server, "/v1/compounds", BAD_VALUES[name])
    assert answer.status == 422, answer.body
    assert answer.problem["errors"]


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1e308", b"true", b'"0.5"', b"null"])
def test_numbers_that_no_column_can_hold(server: LiveServer, known: Known, number: bytes) -> None:
    well = b'{"cell_line":"A375","doses":[],"value":%s}' % number
    table = b'{"quantity":"viability","unit":"fraction","measurements":[%s]}' % well
    answer = _post(server, f"/v1/campaigns/{known['campaign_id'][0]}/submissions", table)
    assert answer.status == 422, answer.body
    assert "value" in answer.problem["detail"]


@pytest.mark.parametrize("threshold", [b"1e400", b"1e13", b"false", b'"10"', b"[]"])
def test_settings_that_are_not_numbers(server: LiveServer, known: Known, threshold: bytes) -> None:
    path = f"/v1/campaigns/{known['campaign_id'][0]}"
    body = b'{"objective":{"score":"bliss_mean","hit_threshold":%s}}' % threshold
    answer = exchange(server, with_body("PATCH", path, server, body, b"If-Match: *"))
    assert answer.status == 422, answer.body
    assert answer.problem["errors"][0]["pointer"] == "/objective/hit_threshold"


def test_a_large_submission_has_to_be_a_table(server: LiveServer, known: Known) -> None:
    held = server.memory_mib()
    body = b'{"measurements":[' + b"[]," * 5_000_000 + b"[]]}"
    answer = _post(server, f"/v1/campaigns/{known['campaign_id'][0]}/submissions", body)
    assert answer.status == 413
    assert "text/csv" in answer.problem["detail"]
    assert server.memory_mib() - held < 30


def test_a_long_list_of_errors_is_cut(server: LiveServer) -> None:
    body = b'{"compounds":[' + b",".join([b'{"name":""}'] * 900) + b"]}"
    problem = _post(server, "/v1/compounds", body).problem
    assert (len(problem["errors"]), problem["error_count"]) == (100, 900)


def _post(server: LiveServer, path: str, body: bytes) -> Answer:
    return exchange(server, with_body("POST", path, server, body))
