"""A worklist for tip-based robots (OT-2, Flex, Hamilton): read by one fixed protocol of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.kit.csv_out import csv_text
from service.plates.exports.echo import plain_number
from service.plates.geometry import well_name
from service.plates.problems import PlateError
from service.plates.transfers import Transfer

UNITS = {"uL": 1000.0, "nL": 1.0}


def worklist_csv(
    transfers: Sequence[Transfer],
    unit: str = "uL",
    padded: bool = False,
    names: Mapping[str, str] | None = None,
) -> str:
    """One line a transfer, in the order in which they are made. ``padded``: A01 for A1."""
    if unit not in UNITS:
        raise PlateError(f"worklist unit {unit!r} is none of {', '.join(UNITS)}")
    names = names or {}
    header = (
        "step",
        "source_labware",
        "source_well",
        "destination_labware",
        "destination_well",
        f"volume_{unit}",
        "compound",
        "compound_name",
        "stock_mM",
    )
    rows = (
        (
            step,
            each.source_plate,
            well_name(*each.source_well, padded=padded),
            each.destination,
            well_name(*each.destination_well, padded=padded),
            plain_number(round(each.volume_nl / UNITS[unit], 9)),
            each.compound,
            names.get(each.compound, each.compound),
            plain_number(each.stock_mm),
        )
        for step, each in enumerate(transfers, start=1)
    )
    return csv_text(header, rows)
