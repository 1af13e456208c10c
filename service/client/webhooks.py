"""The receiving end of webhooks: is this message really from us, and is it fresh?"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

TOLERANCE_S = 300.0


class BadSignature(ValueError):
    """The message is not signed with the secret, or is too old to be believed."""


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> dict[str, Any]:
    """The message in ``body``, or :class:`BadSignature`.

    Take ``body`` as it came, before anything parses it. The same ``webhook-id`` may come more than
    once: remember the last ones and drop what you have seen.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, stamp = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split(" ")
        age = abs((time.time() if now is None else now) - int(stamp))
    except (KeyError, ValueError):
        raise BadSignature("the webhook headers are missing or broken") from None
    if age > tolerance_s:
        raise BadSignature(f"the message is {age:.0f} s away from now; set the clock?")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{stamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in signatures):
        raise BadSignature("no signature fits; is this the right secret?")
    message: dict[str, Any] = json.loads(body)
    return message
