"""A plate with a known truth, and an instrument's file of it, written by hand."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from models.quality.simulate import ReaderModel, read_wells
from service.plates.geometry import PLATE_384, PlateFormat, WellAt, well_name
from tests.lab import Lab

COMPOUNDS = ("A", "B", "C")
DOSES = (0.05, 0.2, 0.8, 3.2)
CLEAN = ReaderModel(noise_cv=0.03, floor_sd=0.001)
_SHARP = {"A": 0.4, "B": 1.5, "C": 6.0}
_END = "Exported with EnVision Workstation version 1.13.3009.1401"
_HEADER = (
    "Plate,Repeat,Barcode,Measured height,Group,Label,ScanX,ScanY,Measinfo,Kinetics,"
    "Measurement date,"
)


@dataclass(frozen=True)
class BenchWell:
    """What is in a well, and what it would show without noise."""

    at: WellAt
    role: str
    doses: tuple[tuple[str, float], ...] = ()
    truth: float = 1.0

    @property
    def name(self) -> str:
        return well_name(*self.at)


def truth_of(doses: Iterable[tuple[str, float]]) -> float:
    """Independent drugs."""
    return math.prod(1 / (1 + dose / _SHARP[name]) for name, dose in doses)


def plate_wells(
    seed: int = 1, vehicles: int = 24, positives: int = 12, shape: PlateFormat = PLATE_384
) -> list[BenchWell]:
    """Singles and pairs twice each, controls among them, the outer ring left empty."""
    places = list(shape.inner())
    random.Random(seed).shuffle(places)
    contents: list[tuple[str, tuple[tuple[str, float], ...], float]] = []
    contents += [("vehicle", (), 1.0)] * vehicles
    contents += [("positive", (("C", 50.0),), 0.0)] * positives
    contents += [("blank", (), 0.0)] * 4
    for name, dose in product(COMPOUNDS, DOSES):
        contents += [("single", ((name, dose),), truth_of([(name, dose)]))] * 2
    for (a, b), one, two in product(combinations(COMPOUNDS, 2), DOSES, DOSES):
        doses = ((a, one), (b, two))
        contents += [("sample", doses, truth_of(doses))] * 2
    return [BenchWell(at, *each) for at, each in zip(places, contents, strict=False)]


def map_csv(
    barcode: str,
    wells: Sequence[BenchWell],
    failed: Mapping[str, str] | None = None,
    real: float = 1.0,
    line: str = "X",
) -> str:
    """The plate as a lab tells us of it; ``real``: the real dose over the nominal one."""
    rows = []
    for well in wells:
        row: dict[str, Any] = {"barcode": barcode, "format": 384, "well": well.name}
        row |= {"role": well.role, "cell_line": "" if well.role == "blank" else line}
        row["excluded"] = (failed or {}).get(well.name, "")
        row["replicate"] = 1
        for place, (name, dose) in enumerate(well.doses, start=1):
            row |= {f"compound_{place}": name, f"nominal_um_{place}": dose,
                    f"real_um_{place}": dose * real}  # fmt: skip
        rows.append(row)
    columns = ["barcode", "format", "well", "role", "cell_line", "excluded", "replicate"]
    columns += [f"{part}_{n}" for n in (1, 2) for part in ("compound", "nominal_um", "real_um")]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read_plate(
    wells: Sequence[BenchWell], reader: ReaderModel = CLEAN, seed: int = 5
) -> dict[WellAt, float]:
    """What a reader makes of a plate; wells without a reading are left out."""
    row, column = (np.array([well.at[axis] for well in wells], np.int64) for axis in (0, 1))
    truth = np.array([well.truth for well in wells])
    rng = np.random.default_rng(seed)
    value = read_wells(row, column, truth, (16, 24), reader, rng)
    pairs = zip(wells, value.tolist(), strict=True)
    return {well.at: round(each, 1) for well, each in pairs if math.isfinite(each)}


def section(barcode: str, values: Mapping[WellAt, float], label: str = "LUM(1)") -> list[str]:
    """The part of an EnVision file that holds one read of one plate."""
    info = "De=USLum Ex=N/A Em=N/A Wdw=N/A (12)"
    lines = ["Plate information ", _HEADER]
    lines += [f'1,1,"=""{barcode}""",14.6,1,{label},0,0,{info},0,9/27/2019 9:41:25 AM,', ""]
    lines += [f"Results for {label} - channel 0 (CPS)"]
    lines += [",".join(["", *map(str, range(1, 25)), ""])]
    for row in range(16):
        cells = [f"{values[row, c]}" if (row, c) in values else "" for c in range(24)]
        lines.append(",".join([chr(ord("A") + row), *cells, ""]))
    return [*lines, ""]


def envision(*sections: Sequence[str]) -> bytes:
    """A whole EnVision file."""
    lines = [line for each in sections for line in each]
    lines += ["", "Basic assay information ", "Assay ID: ,,,,4231", 'Serial#: ,,,,="1040641"']
    return "\r\n".join([*lines, "Number of the wells in the plate,,,,384", "", _END]).encode()


def give_plate(lab: Lab, campaign: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Tell the service of one plate; returns it."""
    answer = lab.request(
        "POST", f"/v1/campaigns/{campaign['id']}/plates", content=text.encode(),
        headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    plate: dict[str, Any] = lab.ok(answer)["plates"][0]
    return plate


def send(lab: Lab, campaign: Mapping[str, Any], content: bytes, **params: Any) -> Any:
    """Upload a file; returns the response."""
    return lab.request(
        "POST", f"/v1/campaigns/{campaign['id']}/files", content=content, params=params,
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip


def commit(lab: Lab, upload: Mapping[str, Any], dry_run: bool = False, **body: Any) -> Any:
    """Commit an upload; returns the response."""
    params = {"dry_run": "true"} if dry_run else {}
    return lab.post(f"/v1/uploads/{upload['id']}/commit", body, params=params)
