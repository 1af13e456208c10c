"""What the controls of a campaign's plates say of their noise, brought to the wells of a snapshot.

The result that counts of each plate says it; wells that came without a plate map, and plates whose
controls show no scatter, have none. A flagged well is a withdrawn one and is not among the wells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.screen import ABSENT, IntArray, PlateTable
from service.assays.uploads.judging import ToldNoise, told_noise
from service.assays.uploads.repository import PlateResultRepository
from service.kit.unit import Unit


class ControlNoise(NamedTuple):
    """What the controls of one plate say, and whose they are."""

    told: ToldNoise
    called: str


PlateNoise = Mapping[tuple[str, str, str | None], ControlNoise]
"""By submission, barcode and cell line; ``None`` is any cell line."""


def control_noise(unit: Unit, campaign_id: str, names: Mapping[str, str]) -> PlateNoise:
    """Of every plate of a campaign that has a result. ``names``: of cell lines, by id."""
    found = {}
    rows = PlateResultRepository(unit.session, unit.principal).counting(campaign_id)
    for submission, barcode, groups in rows:
        alone = len(groups) == 1
        for group in groups:
            line, told = group["cell_line"], told_noise(group)
            if told is not None:
                called = barcode if alone else f"{barcode}, {names.get(line, line)}"
                found[submission, barcode, None if alone else line] = ControlNoise(told, called)
    return found


def plates_of(
    wells: Sequence[tuple[str, str | None, str]], noise: PlateNoise
) -> tuple[IntArray | None, PlateTable | None]:
    """The plate of each well, and the plates; nothing where no well is on a plate with a result.

    ``wells``: submission, barcode and cell line of each. Only plates with wells are listed.
    """
    rows: dict[tuple[str, str, str | None], int] = {}
    at = np.full(len(wells), ABSENT, dtype=np.int64)
    for row, (submission, barcode, line) in enumerate(wells):
        if barcode is None:
            continue
        for key in ((submission, barcode, line), (submission, barcode, None)):
            if key in noise:
                at[row] = rows.setdefault(key, len(rows))
                break
    if not rows:
        return None, None
    known = [noise[key] for key in rows]
    return at, PlateTable(
        ids=_distinct([each.called for each in known]),
        control_sd=np.array([each.told.sd for each in known]),
        control_dof=np.array([each.told.dof for each in known]),
        level_sd=np.array([each.told.shared_sd for each in known]),
    )


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """A plate that was read twice, both to be counted, is two."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} (read {seen[name]})")
    return tuple(result)


def plates_to_json(plates: PlateTable) -> dict[str, Any]:
    """The table for the description of a snapshot; numbers come back to the bit."""
    said = {
        "ids": list(plates.ids),
        "control_sd": plates.control_sd.tolist(),
        "control_dof": plates.control_dof.tolist(),
    }
    return said if plates.level_sd is None else {**said, "level_sd": plates.level_sd.tolist()}


def plates_from_json(said: Mapping[str, Any]) -> PlateTable:
    """Inverse of :func:`plates_to_json`."""
    return PlateTable(
        tuple(said["ids"]),
        np.array(said["control_sd"], dtype=np.float64),
        np.array(said["control_dof"], dtype=np.float64),
        np.array(said["level_sd"], dtype=np.float64) if "level_sd" in said else None,
    )
