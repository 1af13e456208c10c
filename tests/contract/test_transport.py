"""Clients that break off, crawl, flood, or do not speak HTTP: a clear 4xx, and nothing written."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.contract.live import LiveServer
from tests.contract.seeds import Known
from tests.contract.wire import connect, exchange, head, read_answer, send, with_body

COMPOUND = b'{"compounds":[{"name":"Never"}]}'
MEGABYTE = 2**20
JSON = b"Content-Type: application/json"


@pytest.fixture(autouse=True)
def nothing_is_written(server: LiveServer, known: Known) -> Iterator[None]:
    """After each test: the server answers, no table has grown, nothing unexpected was logged."""
    before, logged = server.row_counts(), len(server.output)
    yield
    assert server.is_alive()
    assert server.row_counts() == before
    assert "Traceback" not in server.output[logged:]


def test_an_upload_that_breaks_off(server: LiveServer, known: Known) -> None:
    for path in ("/v1/compounds", f"/v1/campaigns/{known['campaign_id'][0]}/submissions"):
        promise = head("POST", path, server, b"Content-Length: 5000", b"Content-Type: text/csv")
        with closing(connect(server)) as connection:
            send(connection, [promise, COMPOUND])
        assert server.is_alive()


def test_an_upload_whose_sender_only_stops_sending(server: LiveServer) -> None:
    promise = head("POST", "/v1/compounds", server, b"Content-Length: 5000")
    with closing(connect(server)) as connection:
        send(connection, [promise, COMPOUND])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536) == b""


def test_a_chunked_upload_that_breaks_off(server: LiveServer) -> None:
    promise = head("POST", "/v1/compounds", server, b"Transfer-Encoding: chunked")
    with closing(connect(server)) as connection:
        send(connection, [promise, _chunk(COMPOUND)])
    assert server.is_alive()


@pytest.mark.parametrize("upload", [False, True])
def test_an_endless_body_is_refused_without_being_held_in_memory(
    server: LiveServer, known: Known, upload: bool
) -> None:
    path = f"/v1/campaigns/{known['campaign_id'][0]}/submissions" if upload else "/v1/compounds"
    start = head("POST", path, server, b"Transfer-Encoding: chunked", b"Content-Type: text/csv")
    held = server.memory_mib()
    with closing(connect(server)) as connection:
        send(connection, [start, *[_chunk(b"x" * MEGABYTE)] * 100])
        answer = read_answer(connection)
    assert answer.status == 413
    assert "MiB" in answer.problem["detail"]
    assert server.memory_mib() - held < 30


def test_a_declared_length_over_the_limit_is_refused_before_the_body(server: LiveServer) -> None:
    answer = exchange(server, head("POST", "/v1/compounds", server, b"Content-Length: 99999999999"))
    assert answer.status == 413
    assert answer.problem


def test_a_large_table_is_checked_without_being_held_in_memory(
    server: LiveServer, known: Known
) -> None:
    rows = [b"cell_line,compound_1,dose_1_um,viability_fraction,replicate,remark\r\n"]
    rows += [b"A375,Imatinib,0.1,0.5,%d,%s\r\n" % (n, b"r" * 1000) for n in range(20_000)]
    path = f"/v1/campaigns/{known['campaign_id'][0]}/submissions?dry_run=true"
    held = server.memory_mib()
    body = b"".join(rows)
    answer = exchange(server, with_body("POST", path, server, body, b"Content-Type: text/csv"))
    assert answer.status == 200, answer.body
    assert b'"outcome":"checked"' in answer.body
    assert server.memory_mib() - held < 30


def test_a_slow_client_does_not_keep_others_waiting(server: LiveServer) -> None:
    request = with_body("PATCH", "/v1/compounds/none", server, b"{}")
    with closing(connect(server)) as slow:
        for start in range(0, len(request), 16):
            slow.sendall(request[start : start + 16])
            asked = time.monotonic()
            assert server.is_alive()
            assert time.monotonic() - asked < 5
        assert read_answer(slow).status == 404


def test_a_hundred_clients_that_never_finish_their_request(server: LiveServer) -> None:
    idle = [connect(server) for _ in range(100)]
    try:
        for connection in idle:
            send(connection, [b"POST /v1/compounds HTTP/1.1\r\nHost: te"])
        assert exchange(server, head("GET", "/v1/compounds", server)).status == 200
    finally:
        for connection in idle:
            connection.close()


def test_a_long_poll_ends_when_its_client_has_gone(server: LiveServer, known: Known) -> None:
    job, logged = known["spare_job_id"][0], len(server.output)
    with closing(connect(server)) as connection:
        send(connection, [head("GET", f"/v1/jobs/{job}?wait=60", server)])
        time.sleep(0.3)
    give_up_at = time.monotonic() + 10
    while f"path=/v1/jobs/{job}" not in server.output[logged:]:
        assert time.monotonic() < give_up_at, "it goes on asking the database for nobody"
        time.sleep(0.1)


def test_eighty_listeners_do_not_keep_others_waiting(server: LiveServer, known: Known) -> None:
    """More than there are threads and connections: neither is held while nothing happens."""
    job = f"/v1/jobs/{known['spare_job_id'][0]}"
    listeners = [connect(server) for _ in range(80)]
    try:
        for number, connection in enumerate(listeners):
            path = f"{job}/events" if number % 2 else f"{job}?wait=60"
            send(connection, [head("GET", path, server)])
        asked = time.monotonic()
        for _ in range(5):
            assert exchange(server, head("GET", "/v1/compounds", server)).status == 200
        assert time.monotonic() - asked < 10
    finally:
        for connection in listeners:
            connection.close()


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer \xff\xfe",
        b"Authorization: Bearer " + b"nr_a_" + b"b" * 5000,
        b"Authorization: Basic bnI6bnI=",
        b"Authorization:",
        b"Authorization: Bearer nr_a_\xc3\xa9",
    ],
)
def test_a_garbled_key_is_no_key(server: LiveServer, header: bytes) -> None:
    answer = exchange(server, head("GET", "/v1/compounds", server, header, key=False))
    assert answer.status == 401
    assert answer.problem["type"] == "/problems/unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Idempotency-Key: \xff\xfe", 422),
        (b"Idempotency-Key: " + b"k" * 256, 422),
        (b"Idempotency-Key:", 422),
        (b"Content-Type: \xff/\xfe", 415),
        (b"Content-Type: application/json; charset=utf-16", 415),
        (b"Content-Type: text/plain", 415),
        (b"Content-Type: multipart/form-data; boundary=x", 415),
        (b"Content-Type: application/x-www-form-urlencoded", 415),
        (b"Content-Type: " + b"x" * 5000, 415),
        (b"Content-Encoding: gzip", 415),
    ],
)
def test_garbled_headers_of_a_body(server: LiveServer, header: bytes, status: int) -> None:
    answer = exchange(server, with_body("POST", "/v1/compounds", server, COMPOUND, header))
    assert answer.status == status, answer.body
    assert answer.problem


def test_a_garbled_if_match_matches_nothing(server: LiveServer, known: Known) -> None:
    path = f"/v1/compounds/{known['compound_id'][0]}"
    for value in (b"\xff", b"1", b'"99999999999999999999"', b'"-1"', b'"1'):
        request = with_body("PATCH", path, server, b"{}", b"If-Match: " + value)
        answer = exchange(server, request)
        assert answer.status == 412, (value, answer.body)
        assert answer.problem


def test_a_request_id_that_would_spoil_the_log_is_replaced(server: LiveServer) -> None:
    for value in (b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", b"a" * 65, b"level=error x", b"short"):
        answer = exchange(server, head("GET", "/v1/none", server, b"X-Request-ID: " + value))
        assert answer.status == 404
        assert answer.problem["instance"].startswith("req_")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/compounds/%00",
        "/v1/compounds/a%00b",
        "/v1/compounds/%ff%fe",
        "/v1/compounds/%ed%a0%80",
        "/v1/compounds/%0d%0aX-Evil:%201",
        "/v1/compounds/" + "x" * 10_000,
        "/v1/compounds/..%2f..%2fetc%2fpasswd",
        "/v1/compounds/%",
        "/v1/compounds/",
        "//v1/compounds",
        "/v1/campaigns/%00/submissions",
        "/v1/batches/%00/items/%00/replacement",
        "/v1/none",
        "*",
    ],
)
def test_a_garbled_path_is_no_path(server: LiveServer, target: str) -> None:
    method = "POST" if target.endswith("replacement") else "GET"
    answer = exchange(server, with_body(method, target, server, b'{"reason":"none"}'))
    assert answer.status == 404, answer.body
    assert answer.problem
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "cursor=%00",
        "cursor=%ff",
        "cursor=eyJ2IjoxLCJhZnRlciI6Ilx1MDAwMCJ9",  # {"v":1,"after":"\u0000"}
        "cursor=W1tbW1tb",
        "cursor=" + "A" * 10_000,
        "limit=0",
        "limit=501",
        "limit=1e2",
        "limit=" + "9" * 5000,
        "limit=%EF%BC%91%00",
        "name=%00",
        "name=%ff%00",
        "name=%ed%a0%80%00",
        "name=" + "x" * 201,
        "nam=x",
        "=x",
        "%00=x",
    ],
)
def test_a_garbled_query(server: LiveServer, query: str) -> None:
    answer = exchange(server, head("GET", f"/v1/compounds?{query}", server))
    assert answer.status == 422, answer.body
    assert answer.problem["errors"][0]["pointer"].startswith("query/")


@pytest.mark.parametrize("method", ["PUT", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_an_unknown_method_is_told_the_known_ones(server: LiveServer, method: str) -> None:
    answer = exchange(server, head(method, "/v1/compounds", server, b"Connection: close"))
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, POST"
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert answer.problem


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"BREW /v1/compounds HTTP/1.1\r\nHost: test\r\n\r\n",
        b"get /v1/compounds HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /v1/compounds HTTP/7.0\r\nHost: test\r\n\r\n",
        b"GET /v1/comp\x00ounds HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /v1/comp\xffounds HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /v1/compounds HTTP/1.1\r\nHost: test\r\nX-Nul: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS, where there is none
    ],
)
def test_what_is_not_http_gets_a_plain_400(server: LiveServer, request_bytes: bytes) -> None:
    with closing(connect(server)) as connection:
        send(connection, [request_bytes])
        answer = read_answer(connection)
    assert answer.status in (400, 431, 501)
    assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /", b"x" * MEGABYTE),
        (b"GET / HTTP/1.1\r\nX-Long: ", b"x" * MEGABYTE),
        (b"GET / HTTP/1.1\r\n", b"X-Many: y\r\n" * 80_000),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"X-Trailer: y\r\n" * 60_000,
        ),
    ],
)
def test_a_head_without_end_is_cut_off(server: LiveServer, start: bytes, piece: bytes) -> None:
    """It comes before any key is looked at, so it must cost nothing."""
    held, begun = server.memory_mib(), time.monotonic()
    with closing(connect(server)) as connection:
        send(connection, [start, *[piece] * 100])
    assert server.is_alive()
    assert server.memory_mib() - held < 30
    assert time.monotonic() - begun < 10


def test_many_small_chunks_are_a_body_like_any_other(server: LiveServer) -> None:
    start = head("PATCH", "/v1/compounds/none", server, b"Transfer-Encoding: chunked", JSON)
    body = b'{"add_aliases":[' + b",".join([b'"a"'] * 40_000) + b"]}"
    pieces = [_chunk(body[at : at + 2]) for at in range(0, len(body), 2)]
    with closing(connect(server)) as connection:
        send(connection, [start, b"".join(pieces), b"0\r\n\r\n"])
        assert read_answer(connection).status in (404, 422)


def test_broken_chunks_do_not_reach_the_service(server: LiveServer) -> None:
    start = head("POST", "/v1/compounds", server, b"Transfer-Encoding: chunked")
    with closing(connect(server)) as connection:
        send(connection, [start, b"zz\r\n" + COMPOUND + b"\r\n0\r\n\r\n"])
        assert read_answer(connection).status == 400


def test_two_requests_in_one_packet_get_two_answers(server: LiveServer) -> None:
    request = head("GET", "/v1/none", server) + head("GET", "/v1/compounds", server)
    with closing(connect(server)) as connection:
        send(connection, [request])
        assert read_answer(connection).status == 404
        assert read_answer(connection).status == 200


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n" % len(content) + content + b"\r\n"
