"""The fields of request bodies: strict, and storable on both databases."""

import math

import pytest
from pydantic import ValidationError

from service.kit.schemas import Body, Dose, Finite, IdText, Name, Reason, Text


class Everything(Body):
    name: Name | None = None
    text: Text | None = None
    reason: Reason | None = None
    number: Finite | None = None
    dose: Dose | None = None
    id: IdText | None = None


GOOD = [
    ("name", "Vincristine", "Vincristine"),
    ("name", "  A  B ", "A  B"),
    ("name", "N\u00a0O", "N\u00a0O"),
    ("name", "β-actin µM é 日本", "β-actin µM é 日本"),
    ("name", "x" * 200, "x" * 200),
    ("text", "two\nlines\tand a tab", "two\nlines\tand a tab"),
    ("text", "", ""),
    ("text", "👩\u200d🔬", "👩\u200d🔬"),
    ("reason", "  why ", "why"),
    ("number", -1e12, -1e12),
    ("number", 3, 3.0),
    ("dose", 1e-12, 1e-12),
    ("dose", 1e6, 1e6),
    ("id", "cmp_01k8c3abcdefghjkmnpqrstvwx", "cmp_01k8c3abcdefghjkmnpqrstvwx"),
]
BAD = [
    ("name", ""), ("name", " \u3000"), ("name", "x" * 201), ("name", "a\nb"), ("name", "a\tb"),
    ("name", "a\u0000b"), ("name", "a\u0085b"), ("name", "a\u200bb"), ("name", "a\u2028b"),
    ("name", "\ud800"), ("name", "\ufeffA"), ("name", "\ufdfa" * 40), ("name", 7), ("name", b"A"),
    ("text", "x" * 4001), ("text", "a\u0000"), ("text", "\udfff"),
    ("reason", "no"), ("reason", "     "), ("reason", " a "), ("reason", "x" * 4001),
    ("number", math.nan), ("number", math.inf), ("number", 1.1e12), ("number", "1"),
    ("number", True),
    ("dose", 0.0), ("dose", -1.0), ("dose", 1e-13), ("dose", 1.1e6), ("dose", "1"),
    ("id", "cmp_1"), ("id", "CMP_01k8c3abcdefghjkmnpqrstvwx"),
    ("id", "cmp_01k8c3abcdefghjkmnpqrstvwx\n"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "given", "stored"), GOOD)
def test_taken(field, given, stored):
    assert getattr(Everything(**{field: given}), field) == stored


@pytest.mark.parametrize(("field", "given"), BAD)
def test_refused(field, given):
    with pytest.raises(ValidationError) as caught:
        Everything(**{field: given})
    assert caught.value.errors()[0]["loc"] == (field,)


def test_nothing_unknown_is_let_through():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Everything(nmae="A")
