"""Viability without plate effects, out of a fit of time courses into the wells of a campaign.

One table serves both the download and the submission, which takes the way of any other table:
the same checks, the same bytes stored once.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from typing import Any

from service.assays.intake import table_from
from service.assays.repository import MeasurementRepository
from service.assays.service import SubmissionService, Table
from service.assays.tables import Submission
from service.assays.tables_in import Declaration
from service.datasets.service import DatasetService
from service.datasets.tables import Dataset, DatasetFit
from service.kit.body import ReceivedBody
from service.kit.csv_out import csv_text
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit

HEADER = (
    "cell_line", "compound_1", "dose_1_um", "compound_2", "dose_2_um", "viability_fraction",
    "viability_sd", "block",
)  # fmt: skip
_SHOWN = 3


@dataclass(frozen=True)
class Wanted:
    """``experiments`` None: all. ``cell_line``: of data sets that name none."""

    experiments: list[str] | None = None
    cell_line: str | None = None
    despite_doubt: bool = False


class ViabilityService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.datasets = DatasetService(unit)

    def csv(self, fit_id: str, wanted: Wanted) -> str:
        """The wells of a fit as a table that this service reads."""
        fit = self.datasets.fits.get(fit_id)
        dataset = self.datasets.datasets.get(fit.dataset_id)
        return csv_text(HEADER, _rows(dataset, self._chosen(fit, wanted), wanted))

    def submit(
        self, fit_id: str, campaign_id: str, wanted: Wanted, *, dry_run: bool
    ) -> tuple[Submission, str]:
        """The wells of a fit as a submission to a campaign; the same again: that submission."""
        fit = self.datasets.fits.get(fit_id)
        dataset = self.datasets.datasets.get(fit.dataset_id)
        chosen = self._chosen(fit, wanted)
        _require_trust(chosen, wanted)
        table = self._table(fit, dataset, csv_text(HEADER, _rows(dataset, chosen, wanted)))
        submissions = SubmissionService(self.unit)
        known = submissions.known(campaign_id, table)
        if known is not None:
            return known, "existing"
        self._refuse_again(campaign_id, dataset, set(chosen))
        return submissions.submit(campaign_id, table, dry_run=dry_run)

    def _chosen(self, fit: DatasetFit, wanted: Wanted) -> dict[str, dict[str, Any]]:
        """The experiments asked for."""
        found: dict[str, dict[str, Any]] = self.datasets.results(fit).get("experiments") or {}
        if not any(each.get("viability") for each in found.values()):
            raise Conflict(
                f"{fit.id} ({fit.model}) has no viability: only fits of drug pairs watched over "
                f"time, with confluence among their channels, have one."
            )
        if wanted.experiments is None:
            return found
        unknown = [name for name in wanted.experiments if name not in found]
        if unknown:
            known = ", ".join(map(repr, found))
            message = f"{unknown[0]!r} is no experiment of this fit; it has {known}."
            raise _invalid("unknown_experiment", message, "/experiments")
        return {name: found[name] for name in found if name in wanted.experiments}

    def _table(self, fit: DatasetFit, dataset: Dataset, text: str) -> Table:
        content = text.encode()
        received = ReceivedBody(
            io.BytesIO(content), len(content), hashlib.sha256(content).hexdigest()
        )
        settings = self.unit.parts.settings
        note = f"Viability without plate effects: fit {fit.id} of data set {dataset.id}"
        table = table_from(
            received,
            "text/csv",
            Declaration(),
            max_rows=settings.max_upload_rows,
            max_json_bytes=settings.max_body_bytes,
            note=f"{note}, {dataset.name}.",
        )
        return replace(table, dataset_fit_id=fit.id)

    def _refuse_again(self, campaign_id: str, dataset: Dataset, blocks: set[str]) -> None:
        """No well twice: neither by another fit of these data, nor in another selection."""
        measurements = MeasurementRepository(self.unit.session, self.unit.principal)
        fits = self.datasets.fits.ids_of_dataset(dataset.id)
        counting = measurements.of_fits(campaign_id, fits)
        same = sorted({row for row in counting if row[1] in blocks})
        if same:
            submission_id, block = same[0]
            raise Conflict(
                f"Wells of {block!r} of this data set count in the campaign already, by "
                f"{submission_id}. Withdraw those first (POST /v1/measurements/{{id}}/corrections)."
            )


def _rows(
    dataset: Dataset, chosen: dict[str, dict[str, Any]], wanted: Wanted
) -> list[list[object]]:
    """A row for each dose pair but that without drugs, which is 1 by definition."""
    rows: list[list[object]] = []
    units = {each["name"]: each["unit"] for each in (dataset.summary or {})["perturbations"]}
    for name, experiment in chosen.items():
        drugs = experiment["drugs"]
        _require_molar(drugs, units)
        line = _line_of(name, drugs, wanted)
        for row in experiment["viability"]:
            given = [(drug, dose) for drug, dose in zip(drugs, row["doses"], strict=True) if dose]
            if not given:
                continue
            cells: list[object] = [line]
            for drug, dose in (*given, (None, None))[:2]:
                cells += [drug, dose]
            rows.append([*cells, row["mean"], row["sd"], name])
    return rows


def _require_molar(drugs: list[str], units: dict[str, str]) -> None:
    for drug in drugs:
        if units.get(drug) != "uM":
            raise Conflict(
                f"The file gives the doses of {drug!r} without a molar unit, and measurements are "
                f"in uM. Send it again with the unit, as in '{drug} 1.5 uM'."
            )


def _line_of(name: str, drugs: list[str], wanted: Wanted) -> str:
    """Experiments are named after their cell line, if the file says it, and their drugs."""
    line = name.removesuffix(" + ".join(drugs)).removesuffix(" / ")
    if line and wanted.cell_line is not None:
        message = f"The data set names its cell lines ({line!r}); leave out cell_line."
        raise _invalid("cell_line", message, "/cell_line")
    if not line and wanted.cell_line is None:
        message = "The data set names no cell line; say cell_line."
        raise _invalid("cell_line", message, "/cell_line")
    return line or str(wanted.cell_line)


def _require_trust(chosen: dict[str, dict[str, Any]], wanted: Wanted) -> None:
    doubts = [
        f"{name!r}: {each['judged']['doubt']}"
        for name, each in chosen.items()
        if "doubt" in each["judged"]
    ]
    if doubts and not wanted.despite_doubt:
        more = f"; and {len(doubts) - _SHOWN} more" if len(doubts) > _SHOWN else ""
        raise Conflict(
            f"Nothing was submitted. {'; '.join(doubts[:_SHOWN])}{more}. Choose other experiments, "
            f"fit again with another seed, or say despite_doubt."
        )


def _invalid(code: str, message: str, pointer: str) -> Invalid:
    return Invalid(message, errors=[FieldError(code=code, message=message, pointer=pointer)])
