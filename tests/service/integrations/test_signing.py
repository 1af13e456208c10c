"""Signatures are those of the Standard Webhooks specification."""

from __future__ import annotations

import base64

from service.integrations.signing import headers, is_secret, new_secret, signature

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
MESSAGE, STAMP = "msg_loFOjxBNrRLzqYUf", 1_731_705_121
BODY = b'{"event_type":"ping","data":{"success":true}}'
KNOWN = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_the_vector_of_the_specification() -> None:
    assert signature(SECRET, MESSAGE, STAMP, BODY) == KNOWN


def test_every_part_is_signed() -> None:
    others = [
        signature(new_secret(), MESSAGE, STAMP, BODY),
        signature(SECRET, MESSAGE + "x", STAMP, BODY),
        signature(SECRET, MESSAGE, STAMP + 1, BODY),
        signature(SECRET, MESSAGE, STAMP, BODY + b" "),
    ]
    assert len({KNOWN, *others}) == 5


def test_during_a_rotation_there_are_two_signatures() -> None:
    other = new_secret()
    found = headers([other, SECRET], MESSAGE, STAMP, BODY)
    assert found["webhook-id"] == MESSAGE
    assert found["webhook-timestamp"] == str(STAMP)
    first, second = found["webhook-signature"].split(" ")
    assert (first, second) == (signature(other, MESSAGE, STAMP, BODY), KNOWN)


def test_secrets_are_long_and_different() -> None:
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert all(is_secret(secret) for secret in secrets)
    short = "whsec_" + base64.b64encode(bytes(23)).decode()
    assert not any(is_secret(text) for text in (short, "whsec_!", SECRET[1:], ""))
