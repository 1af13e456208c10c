"""The same rules for measurements that arrive as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.assays.tables_in.aliases import Role, role_of
from service.assays.tables_in.duplicates import DuplicateGuard
from service.assays.tables_in.reader import make_draft
from service.assays.tables_in.rows import (
    Declaration,
    Problems,
    RowProblem,
    TableError,
    WellRow,
    shorten,
)
from service.assays.tables_in.rules import Component, Draft, RowRules, finite
from service.assays.tables_in.scale import Scale, ScaleWatch, resolve_scale
from service.assays.tables_in.units import parse_unit

MAX_COMPOUNDS = 3
_LABELS = ("plate", "well", "replicate", "block")
_RECORD_KINDS = frozenset({"cell line", "value", *_LABELS})
_DOSE_KINDS = frozenset({"compound", "dose", "dose unit"})


@dataclass(frozen=True, slots=True)
class Records:
    """Good rows, and what is wrong with the others (first 100 in full, all counted).

    ``problems[i].column`` is a JSON pointer such as ``/measurements/3/doses/0``.
    """

    rows: tuple[WellRow, ...]
    problems: tuple[RowProblem, ...]
    problem_count: int
    scale: Scale | None


class _Field(NamedTuple):
    pointer: str
    role: Role
    value: object


def read_records(
    records: Sequence[object], declared: Declaration | None = None, base: str = "/measurements"
) -> Records:
    """Check measurements given as objects; ``row`` of the result is the index in ``records``.

    One record: ``{"cell_line": "A375", "doses": [{"compound": "X", "dose_um": 0.5}],
    "viability_fraction": 0.8}``; also ``plate``, ``well``, ``replicate``, ``block``; a dose is
    ``dose_um`` (``dose_nm``, ...) or ``dose`` with ``unit``; no doses is a vehicle control.
    Raises :class:`TableError` if all values together contradict the declared scale.
    """
    builder = _RecordBuilder(declared or Declaration(), base)
    drafts = [builder.build(row, record) for row, record in enumerate(records)]
    problems = builder.problems
    with DuplicateGuard(builder.declared.repeats, problems, "measurement", base) as guard:
        rows = guard.accept([draft for draft in drafts if draft is not None])
    watch = builder.rules.watch
    if watch is not None:
        watch.finish(builder.value_key)
    scale = watch.scale if watch is not None else None
    return Records(rows, tuple(problems.first), problems.total, scale)


class _RecordBuilder:
    """Turns one JSON object into a :class:`Draft`."""

    def __init__(self, declared: Declaration, base: str) -> None:
        self.declared, self.base = declared, base
        self.problems = Problems()
        self.rules = RowRules(self.problems)
        self.value_key = ""
        self.unit = parse_unit(declared.dose_unit) if declared.dose_unit else None

    def build(self, row: int, record: object) -> Draft | None:
        """The row, or None after noting everything that is wrong with it."""
        before, here = self.problems.total, f"{self.base}/{row}"
        if not isinstance(record, Mapping):
            self.problems.add(row, here, record, "not_an_object", "a measurement is a JSON object")
            return None
        fields = self._fields(row, here, record, _RECORD_KINDS, "doses")
        line = self._cell_line(row, here, fields)
        labels = [self._text(row, fields.get(kind)) for kind in _LABELS]
        parts = self._components(row, f"{here}/doses", record.get("doses", []))
        raw = self._value(row, here, fields)
        if self.problems.total != before or raw is None or line is None:
            return None
        treatment = self.rules.treatment(row, parts)
        if treatment is None:
            return None
        pointer = fields["value"].pointer
        viability = self.rules.viability(row, pointer, raw, vehicle=not treatment)
        if viability is None:
            return None
        return make_draft(row, line, treatment, viability, raw, labels)

    def _fields(
        self, row: int, here: str, record: Mapping[object, object], kinds: frozenset[str], skip: str
    ) -> dict[str, _Field]:
        """The known keys by what they mean; unknown and doubled ones are noted."""
        fields: dict[str, _Field] = {}
        for key, value in record.items():
            if key == skip:
                continue
            pointer = f"{here}/{_escape(key)}"
            role = _role(key)
            if role is None or role.kind not in kinds:
                message = f"the key {shorten(key)} is unknown here; remove it or correct it"
                self.problems.add(row, pointer, key, "unknown_key", message)
            elif role.kind in fields:
                message = f"two keys mean {role.kind}; keep one of them"
                self.problems.add(row, pointer, key, "ambiguous_key", message)
            else:
                fields[role.kind] = _Field(pointer, role, value)
        return fields

    def _cell_line(self, row: int, here: str, fields: dict[str, _Field]) -> tuple[str, str] | None:
        field = fields.get("cell line")
        if field is None:
            return self.rules.cell_line(row, f"{here}/cell_line", self.declared.cell_line or "")
        if self.declared.cell_line:
            message = "a cell line was declared for all measurements; drop one of the two"
            self.problems.add(row, field.pointer, field.value, "cell_line_contradiction", message)
            return None
        if not isinstance(field.value, str):
            self._expected(row, field, "text")
            return None
        return self.rules.cell_line(row, field.pointer, field.value)

    def _text(self, row: int, field: _Field | None) -> tuple[str, str]:
        """A label; whole numbers are allowed, null means none."""
        if field is None or field.value is None:
            return ("", "")
        value = field.value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15:
            value = str(value)
        if not isinstance(value, str):
            self._expected(row, field, "text")
            return ("", "")
        return self.rules.label(row, field.pointer, value) or ("", "")

    def _components(self, row: int, here: str, doses: object) -> list[Component]:
        if not isinstance(doses, Sequence) or isinstance(doses, str | bytes):
            self.problems.add(row, here, doses, "not_a_list", "doses is a list of objects")
            return []
        if len(doses) > MAX_COMPOUNDS:
            message = f"{len(doses)} doses are given; a well can hold {MAX_COMPOUNDS} compounds"
            self.problems.add(row, here, None, "too_many_compounds", message)
            return []
        parts = [self._component(row, f"{here}/{i}", dose) for i, dose in enumerate(doses)]
        return [part for part in parts if part is not None]

    def _component(self, row: int, here: str, dose: object) -> Component | None:
        if not isinstance(dose, Mapping):
            message = 'a dose is a JSON object such as {"compound": "X", "dose_um": 0.5}'
            self.problems.add(row, here, dose, "not_an_object", message)
            return None
        fields = self._fields(row, here, dose, _DOSE_KINDS, "")
        folded, clean = "", ""
        if "compound" in fields:
            clean, folded = self._text(row, fields["compound"])
        if not folded:
            message = "the compound is empty; name it, or leave this dose out"
            self.problems.add(row, f"{here}/compound", None, "compound_missing", message)
            return None
        dose_um = self._dose(row, here, fields)
        return None if dose_um is None else Component(folded, clean, dose_um, here)

    def _dose(self, row: int, here: str, fields: dict[str, _Field]) -> float | None:
        field = fields.get("dose")
        if field is None:
            message = "the dose is missing; add dose_um"
            self.problems.add(row, here, None, "dose_missing", message)
            return None
        number = self._number(row, field)
        if number is None or number == 0.0:
            return number
        unit = self._unit(row, here, field.role.unit, fields.get("dose unit"))
        return None if unit is None else self.rules.dose(row, field.pointer, number, unit)

    def _unit(self, row: int, here: str, suffix: str | None, field: _Field | None) -> str | None:
        if suffix and self.unit and suffix != self.unit:
            message = f"the key says {suffix}, but {self.unit} was declared; make them agree"
            self.problems.add(row, here, suffix, "dose_unit_contradiction", message)
            return None
        fixed = suffix or self.unit
        if field is not None and not isinstance(field.value, str):
            self._expected(row, field, "text")
            return None
        text = str(field.value) if field is not None else ""
        return self.rules.unit(row, field.pointer if field else here, text, fixed)

    def _value(self, row: int, here: str, fields: dict[str, _Field]) -> float | None:
        field = fields.get("value")
        if field is None:
            message = "the measured value is missing; add viability_fraction or another scale"
            self.problems.add(row, here, None, "value_missing", message)
            return None
        return self._number(row, field) if self._scale_agrees(row, field) else None

    def _scale_agrees(self, row: int, field: _Field) -> bool:
        """Whether this record's scale is known and the same as in the records before."""
        key, role = field.pointer.rsplit("/", 1)[1], field.role
        try:
            scale = resolve_scale(key, role.quantity, role.scale_unit, self.declared)
        except TableError as error:
            for found in error.problems:
                self.problems.add(row, field.pointer, None, found.code, found.message)
            return False
        if self.rules.watch is None:
            self.rules.watch = ScaleWatch(scale, self.declared.confirm_scale)
            self.value_key = key
        if scale == self.rules.watch.scale:
            return True
        message = f"this is {scale}, earlier ones are {self.rules.watch.scale}; use one scale"
        self.problems.add(row, field.pointer, None, "mixed_scales", message)
        return False

    def _number(self, row: int, field: _Field) -> float | None:
        value = field.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._expected(row, field, "a number")
            return None
        try:
            return finite(self.problems, row, field.pointer, value, float(value))
        except OverflowError:
            return finite(self.problems, row, field.pointer, value, float("inf"))

    def _expected(self, row: int, field: _Field, what: str) -> None:
        message = f"{shorten(field.value)} stands where {what} is expected; correct it"
        self.problems.add(row, field.pointer, field.value, "wrong_type", message)


def _role(key: object) -> Role | None:
    if key == "unit":
        return Role("dose unit")
    return role_of(key) if isinstance(key, str) else None


def _escape(key: object) -> str:
    """A key as one step of a JSON pointer, shortened."""
    return str(key)[:100].replace("~", "~0").replace("/", "~1")
