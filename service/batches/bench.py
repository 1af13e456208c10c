"""The limits of a batch by id: what a choice would break, on which plates it lies, what it costs.

The solver that chooses batches is in ``models/``; this only counts, so that the API can answer
"what if" at once. The numbers are those that the solver was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from service.batches.tables import Recommendation


@dataclass(frozen=True)
class Spot:
    """A block in a batch, and the plate where it lies, if any."""

    compounds: tuple[str, str]
    cell_line: str
    plate: int | None = None

    @classmethod
    def of(cls, candidate: Mapping[str, Any]) -> Spot:
        """Where the recommendation put a ranked candidate."""
        a, b = sorted(str(compound["id"]) for compound in candidate["compounds"])
        return cls((a, b), candidate["cell_line"]["id"], candidate.get("plate"))


@dataclass(frozen=True)
class BrokenLimit:
    """A limit that a choice breaks; ``subject``: which compound, line or plate, by id."""

    limit: str
    subject: str
    message: str


@dataclass(frozen=True)
class Bench:
    """The limits of one recommendation; ``names`` of compounds and cell lines by id."""

    limits: Mapping[str, Any]
    apart: Sequence[frozenset[str]]
    stock: Mapping[str, int]
    names: Mapping[str, str]

    @classmethod
    def of(cls, recommendation: Recommendation, candidates: Iterable[Mapping[str, Any]]) -> Bench:
        """As they were when the batch was chosen."""
        rules, lab = recommendation.rules, recommendation.rules.get("lab") or {}
        names = {
            part["id"]: part["name"]
            for candidate in candidates
            for part in (*candidate["compounds"], candidate["cell_line"])
        }
        known = {"batch": rules.get("batch_size"), "per_compound": rules.get("max_per_compound")}
        return cls(
            recommendation.limits or known,
            [frozenset(group) for group in lab.get("never_together", ())],
            lab.get("stock", {}),
            names,
        )

    @property
    def has_plates(self) -> bool:
        return self._limit("plates") is not None

    def lay_out(self, spots: Iterable[Spot]) -> list[Spot]:
        """Every block on a plate: its own, or else the first with room, or else a new one."""
        if not self.has_plates:
            return list(spots)
        wanted = list(spots)
        laid = [spot for spot in wanted if spot.plate is not None]
        placed: list[Spot] = []
        for spot in wanted:
            if spot.plate is None:
                spot = replace(spot, plate=self.plate_for(spot, laid))
                laid.append(spot)
            placed.append(spot)
        return placed

    def plate_for(self, spot: Spot, others: Sequence[Spot]) -> int:
        """The first plate that takes ``spot`` without breaking a limit of a plate."""
        plates: dict[int, list[Spot]] = {}
        for other in others:
            if other.plate is not None:
                plates.setdefault(other.plate, []).append(other)
        for number in sorted(plates):
            if not self._on_plate(number, [*plates[number], spot]):
                return number
        return max(plates, default=0) + 1

    def broken(self, spots: Sequence[Spot]) -> list[BrokenLimit]:
        """Every limit that these blocks break as a batch."""
        plates: dict[int, list[Spot]] = {}
        for spot in spots:
            if spot.plate is not None:
                plates.setdefault(spot.plate, []).append(spot)
        found = [*self._sizes(spots, len(plates)), *self._compounds(spots), *self._lines(spots)]
        for number in sorted(plates):
            found += self._on_plate(number, plates[number])
        if not self.has_plates:
            found += [one for spot in spots for one in self._apart(spot.compounds, "in one block")]
        return found

    def cost(self, spots: Sequence[Spot]) -> float:
        """What these blocks cost, plates included."""
        plates = len({spot.plate for spot in spots if spot.plate is not None}) or bool(spots)
        per_plate, per_block = self._limit("plate_cost") or 0.0, self._limit("block_cost") or 0.0
        return float(plates * per_plate + len(spots) * per_block)

    def _sizes(self, spots: Sequence[Spot], n_plates: int) -> list[BrokenLimit]:
        compounds = {name for spot in spots for name in spot.compounds}
        found = [
            self._over("batch", "batch", len(spots), "block"),
            self._over("plates", "batch", n_plates, "plate"),
        ]
        fewest, budget = self._limit("min_compounds") or 0, self._limit("budget")
        if len(compounds) < fewest:
            message = f"It holds {_count(len(compounds), 'compound')}, at least {fewest} are asked."
            found.append(BrokenLimit("min_compounds", "batch", message))
        cost = self.cost(spots)
        if budget is not None and cost > budget * (1 + 1e-9):
            message = f"It costs {cost:,.6g}, the budget is {budget:,.6g}."
            found.append(BrokenLimit("budget", "batch", message))
        return [one for one in found if one is not None]

    def _compounds(self, spots: Sequence[Spot]) -> list[BrokenLimit]:
        found: list[BrokenLimit] = []
        cap = self._limit("per_compound")
        for name, uses in Counter(c for spot in spots for c in spot.compounds).items():
            called = self.names.get(name, name)
            if cap is not None and uses > cap:
                message = f"{called} would be in {_count(uses, 'block')}, the limit is {cap}."
                found.append(BrokenLimit("max_per_compound", name, message))
            stock = self.stock.get(name)
            if stock is not None and uses > stock:
                message = f"{called} would be in {_count(uses, 'block')}, its stock is for {stock}."
                found.append(BrokenLimit("stock", name, message))
        return found

    def _lines(self, spots: Sequence[Spot]) -> list[BrokenLimit]:
        uses = Counter(spot.cell_line for spot in spots)
        over = self._over("lines_in_batch", "batch", len(uses), "cell line")
        found = [] if over is None else [over]
        cap = self._limit("per_line")
        for line, blocks in uses.items():
            if cap is not None and blocks > cap:
                called = self.names.get(line, line)
                message = f"{called} would get {_count(blocks, 'block')}, the limit is {cap}."
                found.append(BrokenLimit("max_per_cell_line", line, message))
        return found

    def _on_plate(self, number: int, spots: Sequence[Spot]) -> list[BrokenLimit]:
        compounds = sorted({name for spot in spots for name in spot.compounds})
        lines = {spot.cell_line for spot in spots}
        counted = (
            ("blocks", "blocks_per_plate", len(spots), "block"),
            ("compounds", "compounds_per_plate", len(compounds), "compound"),
            ("lines", "lines_per_plate", len(lines), "cell line"),
        )
        found = []
        for limit, name, count, noun in counted:
            most = self._limit(limit)
            if most is not None and count > most:
                message = f"Plate {number} would hold {_count(count, noun)}, the limit is {most}."
                found.append(BrokenLimit(name, str(number), message))
        return [*found, *self._apart(compounds, f"on plate {number}")]

    def _apart(self, compounds: Iterable[str], where: str) -> list[BrokenLimit]:
        present, found = set(compounds), []
        for group in self.apart:
            for a, b in combinations(sorted(group & present), 2):
                both = f"{self.names.get(a, a)} and {self.names.get(b, b)}"
                message = f"{both} must not meet, and would {where}."
                found.append(BrokenLimit("never_together", f"{a} {b} {where}", message))
        return found

    def _over(self, limit: str, subject: str, count: int, noun: str) -> BrokenLimit | None:
        most = self._limit(limit)
        if most is None or count <= most:
            return None
        name = "batch_size" if limit == "batch" else limit
        message = f"It holds {_count(count, noun)}, the limit is {most}."
        return BrokenLimit(name, subject, message)

    def _limit(self, name: str) -> Any:
        return self.limits.get(name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
