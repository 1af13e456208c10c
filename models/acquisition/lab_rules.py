"""What a laboratory can do, as data: plates, wells, stock, money, compounds that must not meet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from models.screen import ScreenError

SHAPES = ("single", "matrix", "diagonal", "informed")
SINGLE_AGENTS = ("elsewhere", "per_plate", "per_block")
NO_LIMIT = 1 << 40
"""Stands for "as many as you like" among the resolved limits."""


@dataclass(frozen=True)
class Limits:
    """:class:`LabRules` as plain numbers, ``NO_LIMIT`` where there is none.

    ``plates``; of each plate ``blocks``, ``compounds`` and ``lines``; of the batch ``batch``
    (blocks), ``per_compound``, ``per_line``, ``lines_in_batch`` and ``min_compounds``.
    ``plate_cost``, ``block_cost`` and ``budget`` in the lab's currency.
    """

    plates: int
    blocks: int
    compounds: int
    lines: int
    batch: int
    per_compound: int
    per_line: int
    lines_in_batch: int
    min_compounds: int
    plate_cost: float
    block_cost: float
    budget: float

    def payable(self, plates: int) -> int:
        """Blocks that the budget pays for when this many plates are used; -1: not even these."""
        left = self.budget - plates * self.plate_cost
        if left < -1e-9 * max(1.0, abs(self.budget) if math.isfinite(self.budget) else 1.0):
            return -1
        if self.block_cost <= 0 or math.isinf(left):
            return NO_LIMIT
        # A sum of prices that meets the budget exactly must not fail for its last bit.
        return int(left / self.block_cost * (1 + 1e-12) + 1e-9)


@dataclass(frozen=True)
class LabRules:
    """The rules of the bench. Everything is optional; ``None`` means no limit.

    A *block* is one candidate: a pair of compounds in a cell line. Of a batch: ``batch_size``
    blocks at most, ``max_per_compound`` blocks with one compound, ``max_per_cell_line`` blocks in
    one line, ``lines_in_batch`` cell lines at most, ``min_compounds`` distinct compounds at least.
    Of plates: ``plates`` at most (as many as the batch fills, when not given), and on each at most
    ``blocks_per_plate`` blocks, ``compounds_per_plate`` compounds and ``lines_per_plate`` lines.

    ``never_together``: sets of compounds no two of which may meet on a plate (indices; kept as
    sorted tuples, so that the rules are JSON). Without plates it bars the pairs themselves.
    ``stock``: most blocks for which there is substance, by compound.

    Wells: ``block_shape`` is "single" (one dose pair, 1 well), "matrix" (``doses`` x ``doses``),
    "diagonal" (``doses`` wells) or "informed" (``block_wells`` wells of the matrix, those that
    teach most), each well measured ``replicates`` times. ``single_agents`` are
    measured "elsewhere", once "per_plate" (each compound at each dose; reserved for
    ``compounds_per_plate`` compounds in ``lines_per_plate`` lines) or "per_block". From
    ``wells_per_plate`` and ``controls_per_plate`` follows :attr:`plate_capacity`.

    ``cost_per_block``, ``cost_per_plate``, ``cost_per_well`` (of every well that is filled,
    controls included) and the ``budget`` of the batch, in one currency. Raises
    :class:`ScreenError` for numbers that cannot be.
    """

    batch_size: int | None = None
    plates: int | None = None
    blocks_per_plate: int | None = None
    compounds_per_plate: int | None = None
    lines_per_plate: int | None = None
    max_per_compound: int | None = None
    min_compounds: int | None = None
    max_per_cell_line: int | None = None
    lines_in_batch: int | None = None
    never_together: tuple[Collection[int], ...] = ()
    stock: Mapping[int, int] | None = field(default=None, hash=False)
    block_shape: str = "single"
    doses: int = 1
    block_wells: int | None = None
    replicates: int = 1
    single_agents: str = "elsewhere"
    wells_per_plate: int | None = None
    controls_per_plate: int = 0
    cost_per_block: float = 0.0
    cost_per_plate: float = 0.0
    cost_per_well: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        groups = tuple(tuple(sorted(int(i) for i in group)) for group in self.never_together)
        object.__setattr__(self, "never_together", groups)
        if self.stock is not None:
            stock = {int(k): self.stock[k] for k in sorted(self.stock, key=int)}
            object.__setattr__(self, "stock", stock)
        _check_counts(self)
        _check_compounds(self)
        _check_wells(self)
        _check_costs(self)

    @property
    def has_plates(self) -> bool:
        """Whether the batch is laid out on plates at all."""
        per_plate = (self.blocks_per_plate, self.compounds_per_plate, self.lines_per_plate)
        return any(x is not None for x in (self.plates, self.wells_per_plate, *per_plate))

    @property
    def wells_per_block(self) -> int:
        """Wells of one block, replicates and its own single agents included."""
        matrix = self.doses**2
        combined = {
            "single": 1,
            "matrix": matrix,
            "diagonal": self.doses,
            "informed": self.block_wells or matrix,
        }
        own = 2 * self.doses if self.single_agents == "per_block" else 0
        return (combined[self.block_shape] + own) * self.replicates

    @property
    def reserved_wells(self) -> int:
        """Wells of a plate that hold no block: controls, and single agents once per plate."""
        if self.single_agents != "per_plate":
            return self.controls_per_plate
        compounds, lines = self.compounds_per_plate or 0, self.lines_per_plate or 1
        return self.controls_per_plate + compounds * lines * self.doses * self.replicates

    @property
    def plate_capacity(self) -> int | None:
        """Most blocks on a plate: the smaller of what is asked and what its wells hold."""
        if self.wells_per_plate is None:
            return self.blocks_per_plate
        fit = (self.wells_per_plate - self.reserved_wells) // self.wells_per_block
        return fit if self.blocks_per_plate is None else min(fit, self.blocks_per_plate)

    @property
    def block_cost(self) -> float:
        """What one more block costs."""
        return self.cost_per_block + self.cost_per_well * self.wells_per_block

    @property
    def plate_cost(self) -> float:
        """What one more plate costs before a block is on it."""
        return self.cost_per_plate + self.cost_per_well * self.reserved_wells

    @property
    def asked(self) -> int:
        """Blocks that the batch should hold."""
        capacity = self.plate_capacity
        if self.plates is None or capacity is None:
            if self.batch_size is None:
                raise ScreenError("name a batch size, or plates and what they hold")
            return self.batch_size
        full = self.plates * capacity
        return full if self.batch_size is None else min(full, self.batch_size)

    def limits(self) -> Limits:
        """The rules as numbers. Raises :class:`ScreenError` where nothing says how many blocks."""
        if self.has_plates and self.plates is None and self.plate_capacity is None:
            raise ScreenError("name a number of plates, or blocks or wells per plate")
        asked, capacity = self.asked, self.plate_capacity or NO_LIMIT
        plates = self.plates or (math.ceil(asked / capacity) if self.has_plates else 1)
        return Limits(
            plates=plates,
            blocks=min(capacity, asked),
            compounds=self.compounds_per_plate or NO_LIMIT,
            lines=self.lines_per_plate or NO_LIMIT,
            batch=asked,
            per_compound=self.max_per_compound or NO_LIMIT,
            per_line=self.max_per_cell_line or NO_LIMIT,
            lines_in_batch=self.lines_in_batch or NO_LIMIT,
            min_compounds=self.min_compounds or 0,
            plate_cost=self.plate_cost,
            block_cost=self.block_cost,
            budget=math.inf if self.budget is None else self.budget,
        )

    def as_dict(self) -> dict[str, Any]:
        """Only JSON: ``from_dict(json.loads(json.dumps(rules.as_dict())))`` gives the same."""
        plain = asdict(self)
        plain["never_together"] = [list(group) for group in self.never_together]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`as_dict`. Raises :class:`ScreenError` for a rule nobody knows."""
        unknown = sorted(set(plain) - {f.name for f in fields(cls)})
        if unknown:
            raise ScreenError(f"no such laboratory rule: {', '.join(unknown)}")
        return cls(**plain)


_POSITIVE = (
    "batch_size",
    "plates",
    "blocks_per_plate",
    "compounds_per_plate",
    "lines_per_plate",
    "max_per_compound",
    "min_compounds",
    "max_per_cell_line",
    "lines_in_batch",
    "wells_per_plate",
    "doses",
    "replicates",
)


def _check_counts(rules: LabRules) -> None:
    for name in _POSITIVE:
        value = getattr(rules, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            words = name.replace("_", " ")
            raise ScreenError(f"{words} is {value!r}, expected a whole number from 1 up")
    if rules.compounds_per_plate == 1:
        raise ScreenError("a block needs 2 compounds, the plate may hold only 1")
    controls = rules.controls_per_plate
    if isinstance(controls, bool) or not isinstance(controls, int) or controls < 0:
        raise ScreenError(f"controls per plate is {controls!r}, expected a whole number from 0 up")


def _check_compounds(rules: LabRules) -> None:
    for group in rules.never_together:
        if any(i < 0 for i in group):
            raise ScreenError("never together names a compound that cannot be (below 0)")
        twice = [i for i, count in Counter(group).items() if count > 1]
        if twice or len(group) < 2:
            raise ScreenError(f"never together needs two different compounds, not {list(group)}")
    for compound, blocks in (rules.stock or {}).items():
        if compound < 0 or isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 0:
            raise ScreenError(f"stock of compound {compound} is {blocks!r} blocks")


def _check_wells(rules: LabRules) -> None:
    if rules.block_shape not in SHAPES:
        raise ScreenError(f"block shape {rules.block_shape!r} is none of {', '.join(SHAPES)}")
    if rules.single_agents not in SINGLE_AGENTS:
        known = ", ".join(SINGLE_AGENTS)
        raise ScreenError(f"single agents {rules.single_agents!r} is none of {known}")
    if rules.block_shape == "single" and rules.doses != 1:
        raise ScreenError("a block of one dose pair has 1 dose; take a matrix or a diagonal")
    if (rules.block_shape == "informed") != (rules.block_wells is not None):
        raise ScreenError("block_wells is the number of wells of an informed block, and only of it")
    if rules.block_wells is not None and rules.block_wells > rules.doses**2:
        raise ScreenError(
            f"a block of {rules.doses} x {rules.doses} doses has no {rules.block_wells} wells"
        )
    if rules.single_agents == "per_plate" and rules.compounds_per_plate is None:
        raise ScreenError("single agents on each plate need a limit of compounds per plate")
    if rules.wells_per_plate is not None:
        left = rules.wells_per_plate - rules.reserved_wells
        if left < rules.wells_per_block:
            raise ScreenError(
                f"a plate of {rules.wells_per_plate} wells keeps {rules.reserved_wells} for "
                f"controls and single agents; a block needs {rules.wells_per_block} more"
            )


def _check_costs(rules: LabRules) -> None:
    for name in ("cost_per_block", "cost_per_plate", "cost_per_well", "budget"):
        value = getattr(rules, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            words = name.replace("_", " ")
            raise ScreenError(f"{words} is {value}, expected a number from 0 up")
