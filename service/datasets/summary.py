"""What a table holds, in numbers and names short enough for a database row."""

from __future__ import annotations

from typing import Any

import numpy as np

from service.datasets.reading.found import Courses, Found

MOST_NAMES = 500


def summary_of(found: Found | Courses) -> dict[str, Any]:
    """JSON-able."""
    return _responses(found) if isinstance(found, Found) else _courses(found)


def _responses(found: Found) -> dict[str, Any]:
    table = found.table
    present = table.n_present
    return {
        "perturbations": _perturbations(table.perturbations, found.units),
        "n_perturbations": len(table.perturbations),
        "readouts": list(table.readouts[:MOST_NAMES]),
        "n_readouts": len(table.readouts),
        "n_rows": len(table),
        "n_controls": int((present == 0).sum()),
        "n_singles": int((present == 1).sum()),
        "n_pairs": int((present == 2).sum()),
        "n_more": int((present > 2).sum()),
        "n_missing": int(np.isnan(table.values).sum()),
        "n_low_quality": int(table.low_quality.sum()),
        "batches": sorted(set(table.batch))[:MOST_NAMES],
        "notes": list(found.notes),
    }


def _courses(found: Courses) -> dict[str, Any]:
    doses = (found.doses() > 0).sum(axis=1)
    return {
        "perturbations": _perturbations(found.perturbations, found.units),
        "n_perturbations": len(found.perturbations),
        "channels": list(found.channels[:MOST_NAMES]),
        "n_rows": len(found.courses),
        "n_controls": int((doses == 0).sum()),
        "n_singles": int((doses == 1).sum()),
        "n_pairs": int((doses == 2).sum()),
        "n_more": int((doses > 2).sum()),
        "n_times": len(np.unique(found.time_h)),
        "last_time_h": float(found.time_h.max()),
        "n_missing": int(np.isnan(found.values).sum()),
        "cell_lines": sorted({c.cell_line for c in found.courses if c.cell_line})[:MOST_NAMES],
        "plates": sorted({c.plate for c in found.courses if c.plate})[:MOST_NAMES],
        "notes": list(found.notes),
    }


def _perturbations(names: tuple[str, ...], units: tuple[str, ...]) -> list[dict[str, str]]:
    both = list(zip(names, units, strict=True))[:MOST_NAMES]
    return [{"name": name, "unit": unit} for name, unit in both]
