"""The VI-HDS plate-reader files: one reader for both header styles, and the paper's merged set."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from models.dynamics.series import GroupFactor, TimeCourses
from models.screen import ScreenError

CHANNELS = ("OD", "mRFP1", "EYFP", "ECFP")
INPUTS = ("C6", "C12")
FILES = ("proc140916", "proc140930", "proc141006", "proc141021", "proc141023", "proc141028")
DEVICES = {
    "Pcat_Y81C76": ("Pcat", "Pcat"),
    "RS100S32_Y81C76": ("RS100", "S32"),
    "RS100S34_Y81C76": ("RS100", "S34"),
    "R33S32_Y81C76": ("R33", "S32"),
    "R33S34_Y81C76": ("R33", "S34"),
    "R33S175_Y81C76": ("R33", "S175"),
}
"""Ribosome binding sites of LuxR and LasR in each device of the paper's set."""
FIRST_READING = 5
"""Columns before the readings: device, colony, well column, well row, treatment."""


def read_file(path):
    """Rows of one file: ``(times (t,), [(device, well, treatment, readings (4, t))])``."""
    with open(path, newline="") as file:
        header, hours, *rows = list(csv.reader(file))
    signals = [_signal(cell) for cell in header[FIRST_READING:]]
    columns = [[i for i, s in enumerate(signals) if s == channel] for channel in CHANNELS]
    if len({len(found) for found in columns}) != 1 or not columns[0]:
        raise ScreenError(f"{path.name}: channels are missing or of unequal length")
    times = np.array([float(cell) for cell in hours[FIRST_READING:]])[columns[0]]
    found = []
    for row in rows:
        readings = np.array([float(cell) for cell in row[FIRST_READING:]])
        well = f"{row[3].strip()}{row[2].strip()}"
        found.append((row[0].strip(), well, row[4], readings[np.array(columns)]))
    return times, found


def _signal(cell):
    """``Raw Data (EYFP) 1 - 0 h`` and ``EYFP`` both name EYFP."""
    inside = re.search(r"\((.*?)\)", cell)
    return inside[1] if inside else cell.strip()


def doses(treatment):
    """``C6=25000;C12=5`` to nM of C6 and C12; raises for anything else."""
    found = dict.fromkeys(INPUTS, 0.0)
    for part in filter(None, (item.strip() for item in treatment.split(";"))):
        name, _, amount = part.partition("=")
        if name.strip() not in found:
            raise ScreenError(f"treatment {treatment!r} holds {name!r}, not C6 or C12")
        found[name.strip()] = float(amount)
    return [found[name] for name in INPUTS]


def merged(folder: Path) -> TimeCourses:
    """The paper's 312 series on the 86 times of the shortest file, nearest reading each.

    Channels are divided by their largest reading of all series, then each series' own smallest
    reading is subtracted, as there.
    """
    files = [read_file(folder / f"{name}.csv") for name in FILES]
    grid = min((times for times, _ in files), key=len)
    values, names, treatments, devices, plates = [], [], [], [], []
    for plate, (times, rows) in zip(FILES, files, strict=True):
        nearest = np.abs(times[:, None] - grid[None]).argmin(axis=0)
        for number, (device, well, treatment, readings) in enumerate(rows):
            if device in DEVICES:
                values.append(readings[:, nearest])
                names.append(f"{plate} {well} {number}")
                treatments.append(doses(treatment))
                devices.append(device)
                plates.append(plate)
    table = np.stack(values)
    table = table / table.max(axis=(0, 2))[:, None]
    table = table - table.min(axis=2, keepdims=True)
    factors = (
        GroupFactor.of("plate", plates),
        GroupFactor.of("device", devices),
        GroupFactor.of("LuxR", [DEVICES[d][0] for d in devices]),
        GroupFactor.of("LasR", [DEVICES[d][1] for d in devices]),
    )
    return TimeCourses(grid, table, CHANNELS, tuple(names), np.array(treatments), INPUTS, factors)
