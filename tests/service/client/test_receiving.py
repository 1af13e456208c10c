"""The receiving end agrees with the sending one."""

from __future__ import annotations

import pytest

from service.client import BadSignature, verify
from service.integrations.signing import headers, new_secret

BODY = b'{"type":"batch.accepted","data":{"id":"bat_1"}}'
NOW = 1_800_000_000


@pytest.fixture
def secret() -> str:
    return new_secret()


def test_what_we_sign_is_believed(secret: str) -> None:
    signed = headers([secret], "evt_1", NOW, BODY)
    assert verify(secret, signed, BODY, now=NOW)["type"] == "batch.accepted"
    upper = {name.title(): value for name, value in signed.items()}
    assert verify(secret, upper, BODY, now=NOW + 299)


def test_during_a_rotation_either_secret_does(secret: str) -> None:
    other = new_secret()
    signed = headers([other, secret], "evt_1", NOW, BODY)
    assert verify(secret, signed, BODY, now=NOW) == verify(other, signed, BODY, now=NOW)


def test_anything_else_is_not(secret: str) -> None:
    signed = headers([secret], "evt_1", NOW, BODY)
    with pytest.raises(BadSignature, match="right secret"):
        verify(new_secret(), signed, BODY, now=NOW)
    with pytest.raises(BadSignature, match="right secret"):
        verify(secret, signed, BODY + b" ", now=NOW)
    with pytest.raises(BadSignature, match="right secret"):
        verify(secret, {**signed, "webhook-id": "evt_2"}, BODY, now=NOW)
    for late in (NOW + 301, NOW - 301):
        with pytest.raises(BadSignature, match="away from now"):
            verify(secret, signed, BODY, now=late)
    for name in signed:
        with pytest.raises(BadSignature, match="missing or broken"):
            verify(secret, {k: v for k, v in signed.items() if k != name}, BODY, now=NOW)
