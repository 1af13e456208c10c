"""A recommendation as people and machines read it: one JSON document, one Parquet table.

The document is made once and served as it is: a thousand candidates in a millisecond.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from service.kit.csv_out import csv_text

NUMBERS = (
    "mean",
    "sd",
    "q05",
    "q50",
    "q95",
    "hit_probability",
    "epistemic_sd",
    "observation_sd",
    "acquisition",
)

IMPROVEMENT = ("probability_of_improvement", "expected_improvement")
FRONT = ("front_probability", "on_front")
"""Columns that lists from before there were goals lack, and that not every goal fills."""

CSV_HEADER = (
    "rank",
    "in_batch",
    "batch_position",
    "plate",
    "compound_1",
    "doses_1_um",
    "compound_2",
    "doses_2_um",
    "cell_line",
    *NUMBERS,
    "raw_hit_probability",
    *IMPROVEMENT,
    *FRONT,
    "nearest_measured",
    "reason",
    "compound_1_id",
    "compound_2_id",
    "cell_line_id",
)


def csv_of(candidates: Sequence[dict[str, Any]]) -> str:
    """The ranked list as CSV."""
    return csv_text(CSV_HEADER, [_cells(row) for row in candidates])


def parquet_of(candidates: Sequence[dict[str, Any]]) -> bytes:
    """The ranked list as Parquet, the same columns as the CSV."""
    import pyarrow
    import pyarrow.parquet

    rows = [_cells(row) for row in candidates]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(CSV_HEADER)}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def load_candidates(content: bytes) -> list[dict[str, Any]]:
    """The ranked candidates in a stored document."""
    candidates: list[dict[str, Any]] = json.loads(content)
    return candidates


def _cells(row: dict[str, Any]) -> list[Any]:
    first, second = row["compounds"]
    return [
        row["rank"],
        row["in_batch"],
        row["batch_position"],
        row.get("plate"),
        first["name"],
        doses_text(first["doses_um"]),
        second["name"],
        doses_text(second["doses_um"]),
        row["cell_line"]["name"],
        *(row[name] for name in NUMBERS),
        row.get("raw_hit_probability"),
        *(row.get(name) for name in IMPROVEMENT),
        *((row.get("objective") or {}).get(name) for name in FRONT),
        _nearest(row["nearest_measured"]),
        row["reason"],
        first["id"],
        second["id"],
        row["cell_line"]["id"],
    ]


def doses_text(doses: Sequence[float]) -> str:
    """The doses of one compound as one cell of a table."""
    return " ".join(f"{dose:.15g}" for dose in doses)


def _nearest(nearest: dict[str, Any] | None) -> str | None:
    if nearest is None:
        return None
    pair = " + ".join(nearest["compounds"])
    return f"{pair} in {nearest['cell_line']} ({nearest['score']:+.1f})"
