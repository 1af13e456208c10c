"""A model of an acoustic dispenser: it reads a pick list, gives drops, fails now and then, and
writes what it did. Its own books are the truth about what is in every well."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DROP_NL = 2.5
_FAILS, _IS_SHORT = 0.012, 0.03
_WHY = "MM0202001: No fluid found in the source well"

Place = tuple[str, str]
"""Barcode of a plate and name of a well, as ``B3``."""


@dataclass(frozen=True)
class Stock:
    """What is in a source well; no ``mm``: vehicle."""

    compound: str
    mm: float


@dataclass(frozen=True)
class Given:
    """One transfer: what was asked for, what the machine counted in drops, what really fell."""

    stock: Stock
    asked_nl: float
    counted_nl: float
    real_nl: float


class ModelDispenser:
    """Drops of 2.5 nL with a scatter of 2 % in each transfer; some transfers give nothing, some
    lose a drop. Same seed and lists, same failures."""

    def __init__(self, stocks: Mapping[Place, Stock], seed: int) -> None:
        self._stocks = dict(stocks)
        self._rng = np.random.default_rng(seed)
        self.books: dict[Place, list[Given]] = defaultdict(list)

    def run(self, pick_list: bytes, number: str) -> bytes:
        """Make the plates of a pick list; returns the report as CSV."""
        rows = list(csv.DictReader(io.StringIO(pick_list.decode("utf-8-sig"), newline="")))
        assert rows
        done: list[list[str]] = []
        failed: list[list[str]] = []
        for row in rows:
            given = self._give(row)
            status = _WHY if given.counted_nl < given.asked_nl else ""
            line = [*row.values(), f"{given.counted_nl:g}", status]
            (done if given.counted_nl else failed).append(line)
        header = [*rows[0], "Actual Volume", "Transfer Status"]
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerows([["Run ID", number], ["Instrument Model", "Echo 650"], []])
        for name, lines in (("[EXCEPTIONS]", failed), ("[DETAILS]", done)):
            if lines:
                writer.writerows([[name], header, *lines, []])
        writer.writerow(["Instrument Software Version", "2.7.1"])
        return out.getvalue().encode()

    def failed(self, place: Place) -> bool:
        """Whether something that was meant for this well never came."""
        return any(given.counted_nl == 0 for given in self.books[place])

    def concentrations(self, place: Place, assay_nl: float, real: bool) -> dict[str, float]:
        """Compounds of a well in uM: by what really fell, or by what was counted."""
        volume = {True: lambda g: g.real_nl, False: lambda g: g.counted_nl}[real]
        given = self.books[place]
        filled = assay_nl + sum(volume(each) for each in given)
        found: dict[str, float] = defaultdict(float)
        for each in given:
            if each.stock.mm > 0:
                found[each.stock.compound] += each.stock.mm * 1000 * volume(each) / filled
        return dict(found)

    def _give(self, row: Mapping[str, str]) -> Given:
        stock = self._stocks[row["Source Plate Barcode"], row["Source Well"]]
        asked = float(row["Transfer Volume"])
        drops = round(asked / DROP_NL)
        assert drops * DROP_NL == asked, "the machine cannot give a part of a drop"
        luck = self._rng.random()
        if luck < _FAILS:
            drops = 0
        elif luck < _FAILS + _IS_SHORT and drops > 8:
            drops -= 1
        counted = drops * DROP_NL
        given = Given(stock, asked, counted, counted * (1 + 0.02 * self._rng.standard_normal()))
        place = row["Destination Plate Barcode"], row["Destination Well"]
        self.books[place].append(given)
        return given
