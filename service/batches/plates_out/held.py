"""What plates have taken, or will take, out of the stocks as they were last given.

A plate that is not called off counts until the stocks are given anew after its dispenser reported
or its readings came in: only then do the stated volumes leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from service.plates.geometry import WellAt
from service.plates.labware import Stock
from service.plates.plate_map import PlateMap
from service.plates.transfers import Transfer, needs

_Key = tuple[str, float]
_Place = tuple[str | None, WellAt | None, str, float]
_SHOWN = 6


@dataclass
class Held:
    """Volumes in nL, by source well and stock, and the plates that they are for."""

    volumes: dict[_Place, float] = field(default_factory=dict)
    plates: dict[_Key, dict[str, float]] = field(default_factory=dict)

    def add_transfers(self, transfers: Iterable[Transfer], barcodes: set[str]) -> None:
        """What a dispenser with source plates moves to the plates with ``barcodes``."""
        for each in transfers:
            if each.destination in barcodes:
                place = (each.source_plate, each.source_well)
                self._add(place, (each.compound, each.stock_mm), each.destination, each.volume_nl)

    def add_plates(self, plates: Iterable[PlateMap], barcodes: set[str]) -> None:
        """What plates need from cassettes, which have no transfers of ours."""
        for plate in plates:
            if plate.barcode not in barcodes:
                continue
            for well in plate.wells:
                for key, volume in needs(plate, well):
                    self._add((None, None), key, plate.barcode, volume)

    def _add(
        self, place: tuple[str | None, WellAt | None], key: _Key, barcode: str, volume: float
    ) -> None:
        at = (*place, *_folded(key))
        self.volumes[at] = self.volumes.get(at, 0.0) + volume
        listed = self.plates.setdefault(_folded(key), {})
        listed[barcode] = listed.get(barcode, 0.0) + volume

    def left(self, stocks: Sequence[Stock]) -> list[Stock]:
        """The stocks with what is left in them, in their order."""
        open_ = dict(self.volumes)
        found = []
        for stock in stocks:
            at = (stock.plate, stock.well, *_folded((stock.compound, stock.mm)))
            taken = min(open_.get(at, 0.0), stock.volume_nl)
            if taken:
                open_[at] -= taken  # several cassettes of one stock share what is held
            found.append(replace(stock, volume_nl=round(stock.volume_nl - taken, 6)))
        return found

    def planned_nl(self, key: _Key) -> float:
        """How much of a stock is spoken for."""
        return round(sum(self.plates.get(_folded(key), {}).values()), 6)

    def words(self, key: _Key) -> str:
        """Which plates hold a stock, to be put behind what is missing; empty where none does."""
        listed = sorted(self.plates.get(_folded(key), {}))
        if not listed:
            return ""
        names = ", ".join(listed[:_SHOWN])
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        plates = "plate" if len(listed) == 1 else "plates"
        return (
            f"; {self.planned_nl(key):g} nL of it are for {plates} {names}{more}: cancel what will "
            "not be made, or give the stocks anew once it was made"
        )


def _folded(key: _Key) -> _Key:
    """Vehicle goes by what people call it."""
    return (key[0].lower() if key[1] == 0 else key[0], key[1])
