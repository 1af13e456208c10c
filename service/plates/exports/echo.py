"""The pick list of an Echo: one line a transfer, in nL, wells without a zero in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.kit.csv_out import csv_text
from service.plates.geometry import well_name
from service.plates.labware import Destination, Dispenser
from service.plates.problems import PlateError
from service.plates.transfers import Transfer

COLUMNS = (
    "Source Plate Name",
    "Source Plate Barcode",
    "Source Plate Type",
    "Source Well",
    "Sample ID",
    "Sample Name",
    "Destination Plate Name",
    "Destination Plate Barcode",
    "Destination Plate Type",
    "Destination Well",
    "Transfer Volume",
)


def echo_pick_list(
    transfers: Sequence[Transfer],
    destination: Destination,
    dispenser: Dispenser,
    names: Mapping[str, str] | None = None,
) -> str:
    """The pick list as CSV. ``names``: what people call a compound, by its id.

    Refuses a volume that is no whole number of drops or more than one transfer gives: the Echo
    would round the one and leave out the other.
    """
    names = names or {}
    rows = []
    for each in transfers:
        where = f"{each.compound} into well {well_name(*each.destination_well)}"
        if each.volume_nl > dispenser.max_transfer_nl or each.volume_nl <= 0:
            raise PlateError(
                f"{where} of {each.destination}: {each.volume_nl:g} nL in one transfer; "
                f"{dispenser.name} gives up to {dispenser.max_transfer_nl:g} nL"
            )
        rows.append(
            (
                each.source_plate,
                each.source_plate,
                each.source_type,
                well_name(*each.source_well),
                each.compound,
                names.get(each.compound, each.compound),
                each.destination,
                each.destination,
                destination.name,
                well_name(*each.destination_well),
                plain_number(dispenser.volume(dispenser.drops(each.volume_nl))),
            )
        )
    return csv_text(COLUMNS, rows)


def plain_number(value: float) -> int | float:
    """25 rather than 25.0, and 2.5 as it is."""
    return int(value) if value == int(value) else value
