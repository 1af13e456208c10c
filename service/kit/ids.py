"""Public identifiers: a prefix that says the noun, then a UUIDv7 that sorts by time."""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26  # 128 bits, five at a time
_lock = threading.Lock()
_last_ms = 0
_counter = 0


def _uuid7() -> int:
    """A UUIDv7 as an integer (RFC 9562, 5.7), increasing within this process.

    The 12 bits of ``rand_a`` count within one millisecond (method 1 of section 6.2), so rows
    made in one burst keep their order.
    """
    global _last_ms, _counter
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _counter = now_ms, secrets.randbits(8)
        else:
            _counter += 1
            if _counter >= 1 << 12:
                _last_ms, _counter = _last_ms + 1, 0
        stamp, count = _last_ms, _counter
    return (stamp << 80) | (0x7 << 76) | (count << 64) | (0b10 << 62) | secrets.randbits(62)


def new_id(prefix: str) -> str:
    """A new identifier such as ``cmp_01k8c3...``: sortable by time, safe in a URL."""
    value = _uuid7()
    digits = [_ALPHABET[(value >> shift) & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)]
    return f"{prefix}_{''.join(digits)}"
