"""Rules of flags and of re-normalising: wells are taken out and in again, nothing is deleted.

Whatever counts of a plate follows from its kept readings, its map, its standing flags and one
rule; so each change works everything out anew and writes versions of what differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from service.assays.service import SubmissionService
from service.assays.uploads.committing import add_result
from service.assays.uploads.kept import kept_reads
from service.assays.uploads.limits import LimitsService
from service.assays.uploads.plate_files import PlateFiles, flagged_wells
from service.assays.uploads.reads import choose_read
from service.assays.uploads.repository import (
    FlagRepository,
    PlateResultRepository,
    ReadingRepository,
)
from service.assays.uploads.schemas import (
    FlagOut,
    FlagsIn,
    LiftIn,
    NormaliseIn,
    PlateQualityOut,
    PlateResultOut,
    ReadSummaryOut,
    TimeZeroIn,
)
from service.assays.uploads.tables import PlateResult, WellFlag
from service.campaigns.service import CampaignService
from service.kit.audit.recorder import give_reason
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.outbox import emit
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit
from service.plates.geometry import WellAt, plate_format, well_name
from service.plates.problems import PlateError
from service.plates.repository import PlateRepository
from service.plates.service import map_of
from service.plates.tables import Plate

READINGS_HEADER = (
    "barcode", "well", "role", "upload_id", "label", "value", "unit", "instrument_flag",
    "viability", "counted", "flags", "line",
)  # fmt: skip


class PlateQualityService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.plates = PlateRepository(unit.session, unit.principal)
        self.flags = FlagRepository(unit.session, unit.principal)
        self.results = PlateResultRepository(unit.session, unit.principal)
        self.readings = ReadingRepository(unit.session, unit.principal)
        self.submissions = SubmissionService(unit)

    def flag(self, plate: Plate, body: FlagsIn) -> list[WellFlag]:
        """Say that wells, or all of them, must not be counted."""
        self._hold(plate)
        wells = self._wells(plate, body.wells)
        standing = {(flag.row, flag.column) for flag in self.flags.standing(plate.id)}
        twice = [at for at in wells if (at or (None, None)) in standing]
        if twice:
            name = "The plate" if twice[0] is None else f"Well {well_name(*twice[0])}"
            raise Conflict(f"{name} is flagged already. Lift that flag to give another reason.")
        give_reason(self.session, body.reason)
        made = [self._new_flag(plate, at, body.reason) for at in wells]
        self.session.flush()
        what = "the plate" if wells == [None] else f"{len(wells)} wells"
        self._work_out(plate, f"Flagged {what}: {body.reason}")
        return made

    def lift(self, flag: WellFlag, body: LiftIn) -> WellFlag:
        """Take a flag back; what it took out counts again."""
        plate = self.plates.get(flag.plate_id)
        self._hold(plate)
        self.session.refresh(flag)
        if flag.lifted_at is not None:
            raise Conflict(f"{flag.id} was lifted before, by {flag.lifted_by}.")
        give_reason(self.session, body.reason)
        flag.lifted_at, flag.lifted_by = utcnow(), self.unit.principal.actor
        flag.lift_reason = body.reason
        self.session.flush()
        self._work_out(plate, f"Lifted a flag: {body.reason}")
        return flag

    def normalise(self, plate: Plate, body: NormaliseIn) -> PlateResult:
        """Put the plate under another rule, or under the same one with its present map."""
        self._hold(plate)
        latest = self.results.latest(plate.id)
        if latest is None:
            raise Conflict(
                f"Nothing of plate {plate.barcode!r} was committed yet. Send its readings with "
                f"POST /v1/campaigns/{plate.campaign_id}/files."
            )
        label = latest.label
        if body.label is not None:
            reads = kept_reads(self.unit, plate.id, latest.upload_id)
            read, wrong = choose_read(reads, body.label)
            if read is None:
                raise _invalid(*(wrong or ("label", "")), "/label")
            label = read.label
        zero = self._time_zero(plate, body, latest)
        reason = f"Normalised by {body.rule}"
        if label != latest.label:
            reason += f", read {label!r}"
        result = self._work_out(plate, reason, rule=body.rule, label=label, zero=zero)
        assert result is not None  # noqa: S101 - there is a latest one
        return result

    def follow_map(self, plate: Plate, reason: str) -> None:
        """What is in the wells has changed since they were read: what counts follows."""
        self._hold(plate)
        self._work_out(plate, reason)

    def describe(self, plate: Plate) -> PlateQualityOut:
        """All results, flags and reads of a plate."""
        return PlateQualityOut(
            plate_id=plate.id,
            barcode=plate.barcode,
            results=[describe_result(row) for row in self.results.of_plate(plate.id)],
            flags=[describe_flag(row) for row in self.flags.of_plate(plate.id)],
            reads=[
                ReadSummaryOut(
                    upload_id=row[0],
                    label=row[1],
                    unit=row[2],
                    n_wells=row[3],
                    n_read=row[4],
                    lowest=row[5],
                    highest=row[6],
                )
                for row in self.readings.summaries(plate.id)
            ],
        )

    def readings_table(self, plate: Plate) -> Iterator[Sequence[Any]]:
        """A line for each well of each read, with what became of it."""
        latest, mapped = self.results.latest(plate.id), map_of(plate)
        reasons: dict[WellAt, list[str]] = {}
        for flag in self.flags.standing(plate.id):
            wells = mapped.format.wells() if flag.row is None else [(flag.row, flag.column or 0)]
            for at in wells:
                reasons.setdefault(at, []).append(flag.reason)
        current = {}
        if latest is not None:
            repository = self.submissions.measurements
            current = repository.latest_of_plate(latest.submission_id, plate.barcode)
        for row in self.readings.of_plate(plate.id):
            at = (row.row, row.column)
            counts = latest is not None and (row.upload_id, row.label) == (
                latest.upload_id, latest.label)  # fmt: skip
            well = current.get(well_name(*at, padded=True)) if counts else None
            in_plate = mapped.format.has(at)
            flags = "; ".join(reasons.get(at, ()))
            yield (
                plate.barcode, well_name(*at, padded=True),
                mapped.at(at).role.value if in_plate else "", row.upload_id, row.label, row.value,
                row.unit, row.flag, None if well is None else well.viability,
                "yes" if well is not None and not well.withdrawn else "no", flags, row.line,
            )  # fmt: skip

    def _hold(self, plate: Plate) -> None:
        campaigns = CampaignService(self.unit)
        campaigns.require_not_closed(campaigns.campaigns.hold(plate.campaign_id))

    def _wells(self, plate: Plate, names: list[str] | None) -> list[WellAt | None]:
        if names is None:
            return [None]
        shape, found = plate_format(plate.wells), list[WellAt | None]()
        for row, name in enumerate(names):
            try:
                at = shape.parse(name)
            except PlateError as problem:
                raise _invalid("well", f"{problem}.", f"/wells/{row}") from None
            if at in found:
                raise _invalid("repeated", f"Well {name} is named twice.", f"/wells/{row}")
            found.append(at)
        return found

    def _new_flag(self, plate: Plate, at: WellAt | None, reason: str) -> WellFlag:
        row, column = at or (None, None)
        flag = WellFlag(id=new_id("flg"), campaign_id=plate.campaign_id, plate_id=plate.id)
        flag.row, flag.column, flag.reason = row, column, reason
        flag.created_by = self.unit.principal.actor
        return self.flags.add(flag)

    def _time_zero(
        self, plate: Plate, body: NormaliseIn, latest: PlateResult
    ) -> dict[str, Any] | None:
        said = body.time_zero
        if not body.rule.startswith("growth-rate"):
            return None
        if said is None:
            if latest.time_zero is None:
                message = "Growth rates need time_zero: the plate that was read at 0 h."
                raise _invalid("time_zero", message, "/time_zero")
            return latest.time_zero
        return {**said.model_dump(), "levels": self._levels(plate, said)}

    def _levels(self, plate: Plate, said: TimeZeroIn) -> dict[str, Any]:
        files = PlateFiles(self.unit, plate.campaign_id)
        levels, wrong = files.time_zero_levels(said, [])
        if levels is None:
            raise _invalid("time_zero", str(wrong), "/time_zero")
        return levels

    def _work_out(
        self,
        plate: Plate,
        reason: str,
        *,
        rule: str | None = None,
        label: str | None = None,
        zero: dict[str, Any] | None = None,
    ) -> PlateResult | None:
        """Everything that counts of the plate as it is now; nothing where it was not measured."""
        from service.assays.uploads.judging import judge  # scipy, when it is needed

        latest = self.results.latest(plate.id)
        if latest is None:
            return None
        zero = zero if rule is not None else latest.time_zero
        rule, label = rule or latest.rule, label or latest.label
        standing, mapped = self.flags.standing(plate.id), map_of(plate)
        wells = flagged_wells(standing)
        readings = self.readings.of_read(plate.id, latest.upload_id, label)
        limits = LimitsService(self.unit).present()
        history = self.results.history(plate.campaign_id, plate.id)
        judged = judge(mapped, readings, wells, rule, limits, history, (zero or {}).get("levels"))
        if judged.error is not None:
            raise Conflict(f"{rule} would give no values: {judged.error}. Flag the whole plate.")
        whole = any(flag.row is None for flag in standing)
        counted = () if whole else PlateFiles.counted(mapped, readings, wells, judged.values)
        submission = self.submissions.submissions.get(latest.submission_id)
        self.submissions.revise(submission, plate.barcode, counted, reason)
        same = ("campaign_id", "plate_id", "upload_id", "submission_id")
        result = add_result(
            self.unit,
            **{name: getattr(latest, name) for name in same},
            label=label,
            rule=rule,
            scale=judged.scale,
            time_zero=zero,
            verdict=judged.verdict,
            reasons=list(judged.reasons),
            groups=list(judged.groups),
            reference=judged.reference,
            limits=limits,
            n_counted=len(counted),
            reason=reason,
        )
        emit(self.session, "plate.revised", plate, verdict=result.verdict, rule=rule)
        return result


def describe_flag(flag: WellFlag) -> FlagOut:
    """A flag as the outside sees it."""
    well = None if flag.row is None or flag.column is None else well_name(flag.row, flag.column)
    own = set(FlagOut.model_fields) - {"well"}
    return FlagOut(well=well, **{name: getattr(flag, name) for name in own})


def describe_result(row: PlateResult) -> PlateResultOut:
    """A result as the outside sees it."""
    return PlateResultOut.model_validate(row)


def _invalid(code: str, message: str, pointer: str) -> Invalid:
    return Invalid(message, errors=[FieldError(code=code, message=message, pointer=pointer)])
