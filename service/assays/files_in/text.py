"""Bytes to text: which encoding, and no byte that no text has."""

from __future__ import annotations

import codecs
import re

from service.assays.files_in.problems import FileError

_MARKS = (
    (codecs.BOM_UTF32_LE, None),
    (codecs.BOM_UTF32_BE, None),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 4096
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff]")
_FIX = "export the file again, as UTF-8 or as Unicode text"


def decode(content: bytes) -> tuple[str, str]:
    """``(text, encoding)``: UTF-8, UTF-16 with or without its mark, else cp1252.

    Line ends become newlines. Raises :class:`FileError` for bytes of no such encoding, and for
    control characters.
    """
    encoding, body = _encoding_of(content)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + body[: error.start].count(b"\n")
        raise FileError(
            None, line, f"byte {error.start:,} is not {encoding} text (damaged?)", _FIX
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    control = _CONTROL.search(text)
    if control is not None:
        line = 1 + text.count("\n", 0, control.start())
        shown = f"U+{ord(control.group()):04X}"
        raise FileError(None, line, f"holds the control character {shown}: damaged?", _FIX)
    return text, encoding


def _encoding_of(content: bytes) -> tuple[str, bytes]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            if encoding is None:
                raise FileError(None, None, "the file is UTF-32", _FIX)
            return encoding, content[len(mark) :]
    head = content[:_SAMPLE]
    if b"\0" in head:
        # In UTF-16 without a mark the high bytes of Latin text are zero, all on one side.
        even, odd = head[0::2].count(0), head[1::2].count(0)
        many = len(head) // 8
        if odd > max(many, 4 * even):
            return "utf-16-le", content
        if even > max(many, 4 * odd):
            return "utf-16-be", content
        raise FileError(None, 1, "holds zero bytes: the file is binary or damaged", _FIX)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252", content
    return "utf-8", content
