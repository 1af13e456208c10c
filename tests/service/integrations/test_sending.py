"""One POST to one checked address, bounded in every direction."""

from __future__ import annotations

import ipaddress
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.integrations.addresses import Policy
from service.integrations.sending import post
from tests.service.integrations.receiver import Receiver, receiving

LOCAL = Policy((ipaddress.ip_network("127.0.0.0/8"),))
BODY = b'{"type":"webhook.test"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_the_body_arrives_as_it_is(receiver: Receiver) -> None:
    answer = post(receiver.url, BODY, {"webhook-id": "evt_1"}, LOCAL)
    assert (answer.status, answer.error, answer.succeeded) == (204, None, True)
    ((path, headers, body),) = receiver.requests
    assert (path, body, headers["webhook-id"]) == ("/hooks?lab=1", BODY, "evt_1")
    assert headers["host"] == f"127.0.0.1:{receiver.server_address[1]}"


def test_it_connects_to_what_was_checked(receiver: Receiver) -> None:
    """A name that leads elsewhere a moment later (DNS rebinding) gains nothing: it is asked once
    and the connection goes to that answer."""
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    url = receiver.url.replace("127.0.0.1", "name.invalid")
    assert post(url, BODY, {}, LOCAL, resolve=resolve).succeeded
    assert asked == ["name.invalid"]
    assert receiver.requests[0][1]["host"].startswith("name.invalid:")


def test_a_refused_address_is_never_connected_to(receiver: Receiver) -> None:
    answer = post(receiver.url, BODY, {}, Policy())
    assert answer.status is None
    assert "not a public address" in (answer.error or "")
    assert receiver.requests == []


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [302], {"Location": receiver.url}
    answer = post(receiver.url, BODY, {}, LOCAL)
    assert (answer.status, answer.succeeded, len(receiver.requests)) == (302, False, 1)
    assert "not followed" in (answer.error or "")


def test_a_slow_answer_is_cut_off(receiver: Receiver) -> None:
    """A byte now and then keeps every read alive; the whole has a limit too."""
    receiver.drips = True
    began = time.monotonic()
    answer = post(receiver.url, BODY, {}, LOCAL, whole_s=0.4)
    assert time.monotonic() - began < 3.0
    assert not answer.succeeded
    assert answer.error


def test_nobody_there() -> None:
    with receiving() as receiver:
        url = receiver.url
    answer = post(url, BODY, {}, LOCAL)
    assert (answer.status, answer.error) == (None, "no connection: Connection refused")


def test_a_receiver_says_when_to_come_back(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [503], {"Retry-After": "120"}
    answer = post(receiver.url, BODY, {}, LOCAL)
    assert (answer.status, answer.retry_after_s, answer.error) == (503, 120.0, "answered 503")
    receiver.headers = {"Retry-After": "soon"}
    assert post(receiver.url, BODY, {}, LOCAL).retry_after_s == 0.0


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for lims.example.org, signed by nobody but itself, and its key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl makes the certificate of this test, and is not here")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=lims.example.org", "-addext", "subjectAltName=DNS:lims.example.org"]
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *files, *subject], check=True, capture_output=True)
    return certificate, key


def test_tls_is_checked_against_the_name(
    receiver: Receiver, certificate: tuple[Path, Path]
) -> None:
    """The connection goes to the checked address; the certificate must be that of the name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    receiver.socket = server.wrap_socket(receiver.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    url = receiver.url.replace("http://127.0.0.1", "https://lims.example.org")

    def local(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    assert post(url, BODY, {}, LOCAL, resolve=local, context=trusting).succeeded
    for wrong, context in ((url.replace("lims", "evil"), trusting), (url, None)):
        answer = post(wrong, BODY, {}, LOCAL, resolve=local, context=context)
        assert "certificate refused" in (answer.error or "")
    assert len(receiver.requests) == 1


def test_gone_is_for_good(receiver: Receiver) -> None:
    receiver.statuses = [410]
    assert post(receiver.url, BODY, {}, LOCAL).gone
