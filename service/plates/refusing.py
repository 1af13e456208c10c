"""From what is wrong with a plate to a problem that an API answers, with names for ids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.kit.problems import FieldError, Invalid
from service.plates.problems import PlateError

_ID = re.compile(r"\b[a-z]{3}_[0-9a-z]{26}\b")
_LINE = re.compile(r"\bline ([0-9]{1,9})\b")


def in_words(text: str, names: Mapping[str, str]) -> str:
    """``text`` with what people call a thing in place of its id, and a capital to begin with."""
    named = _ID.sub(lambda match: names.get(match[0], match[0]), text)
    return named[:1].upper() + named[1:]


def sentence(text: str, names: Mapping[str, str]) -> str:
    """:func:`in_words` with a full stop, where the text has no end of its own."""
    said = in_words(text, names)
    return said if said.endswith((".", "?")) else f"{said}."


def faults(
    problem: PlateError, code: str, pointer: str | None, names: Mapping[str, str]
) -> list[FieldError]:
    """One error for each part of ``problem``; with its line where it is one of a file."""
    found = []
    for part in problem.parts:
        line = _LINE.match(part)
        row = int(line[1]) if line else None
        message = sentence(part, names)
        found.append(FieldError(code=code, message=message, pointer=pointer, row=row))
    return found


def refuse(errors: list[FieldError]) -> None:
    """Raise all of ``errors`` as one problem; nothing where there are none."""
    if errors:
        more = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
        raise Invalid(f"{errors[0].message}{more}", errors=errors)


@contextmanager
def refusing(
    code: str, pointer: str | None = None, names: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Answer what is wrong with a plate inside as a 422."""
    try:
        yield
    except PlateError as problem:
        refuse(faults(problem, code, pointer, names or {}))
