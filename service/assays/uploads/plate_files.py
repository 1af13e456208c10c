"""The plates of a reader file: which of ours they are, what was read, what it is worth.

Everything here reads and works out; nothing is stored, so a preview and a commit do the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from models.chemistry.names import nearest_names
from service.assays.files_in import ReaderFile, Reading
from service.assays.tables_in import WellRow
from service.assays.uploads.limits import LimitsService
from service.assays.uploads.reads import (
    COUNTED,
    FoundPlate,
    Read,
    barcodes_in_name,
    choose_read,
    fit,
    plates_in,
    whose,
)
from service.assays.uploads.repository import (
    FlagRepository,
    PlateBarcodeRepository,
    PlateResultRepository,
)
from service.assays.uploads.schemas import (
    AskedIn,
    NoteOut,
    PlateChoiceIn,
    TimeZeroIn,
)
from service.assays.uploads.tables import WellFlag
from service.campaigns.repository import CampaignCellLineRepository, CampaignCompoundRepository
from service.kit.unit import Unit
from service.plates.geometry import WellAt, parse_well, well_name
from service.plates.plate_map import PlateMap
from service.plates.repository import PlateRepository
from service.plates.service import map_of
from service.plates.tables import Plate

Something = TypeVar("Something")

if TYPE_CHECKING:
    from service.assays.uploads.judging import Judged


@dataclass
class PlateWork:
    """One plate of a file on its way into the campaign."""

    found: FoundPlate
    choice: PlateChoiceIn
    row: Plate | None = None
    barcode: str | None = None
    said_by: str | None = None
    read: Read | None = None
    judged: Judged | None = None
    flags: dict[WellAt, dict[str, Any]] = field(default_factory=dict)
    """Proposed flags that were accepted."""
    flagged: Collection[WellAt] = ()
    """Wells that are flagged already or now."""
    wells: tuple[WellRow, ...] = ()
    missing: Sequence[WellAt] = ()
    outside: Sequence[WellAt] = ()
    unread: Mapping[WellAt, str] = field(default_factory=dict)
    time_zero: dict[str, Any] | None = None
    problems: list[NoteOut] = field(default_factory=list)

    @property
    def plate(self) -> Plate:
        """Our plate; only where it is known."""
        return _there(self.row)

    @cached_property
    def map(self) -> PlateMap:
        """What is on the plate; only where it is known."""
        return map_of(self.plate)

    @property
    def chosen(self) -> Read:
        """The read that counts; only where one was chosen."""
        return _there(self.read)

    @property
    def verdict(self) -> Judged:
        """What was found; only where the plate could be judged."""
        return _there(self.judged)

    def note(self, code: str, message: str, blocking: bool = True) -> None:
        """Something to say about this plate."""
        self.problems.append(NoteOut(code=code, message=message, blocking=blocking))


class PlateFiles:
    """Looks at reader files of one campaign."""

    def __init__(
        self, unit: Unit, campaign_id: str, told: Mapping[str, Plate] | None = None
    ) -> None:
        """``told``: plates of the same file that are not stored yet, by barcode."""
        self.notes: list[NoteOut] = []
        self.unit, self.campaign_id, self.told = unit, campaign_id, told or {}
        self.plates = PlateRepository(unit.session, unit.principal)
        self.barcodes = PlateBarcodeRepository(unit.session, unit.principal)
        self.results = PlateResultRepository(unit.session, unit.principal)
        self.flags = FlagRepository(unit.session, unit.principal)
        self.limits = LimitsService(unit)

    def look(self, file: ReaderFile, file_name: str, asked: AskedIn) -> list[PlateWork]:
        """Every plate of the file as far as it can be taken."""
        found = plates_in(file.plates)
        choices = {choice.index: choice for choice in asked.plates}
        self.notes = _strange_choices(asked, len(found))
        works = [PlateWork(each, choices.get(each.index, _no_choice(each.index))) for each in found]
        own = [*self.barcodes.of_campaign(self.campaign_id), *self.told]
        for work in works:
            in_name = barcodes_in_name(file_name, own) if len(works) == 1 else []
            said = work.choice.barcode or (asked.barcode if len(works) == 1 else None)
            self._identify(work, said, in_name, own)
        if asked.barcode is not None and len(works) > 1:
            message = f"The file has {len(works)} plates; name each one's barcode in `plates`."
            works[0].note("barcode_for_many", message)
        self._require_once(works)
        limits = self.limits.present()
        for work in works:
            if work.row is not None and not work.choice.skip:
                self._choose(work, asked)
        for work in works:
            if work.read is not None and not work.choice.skip:
                self._judge(work, asked, limits, works)
        return works

    def _identify(
        self, work: PlateWork, said: str | None, in_name: Sequence[str], own: Sequence[str]
    ) -> None:
        def near(name: str) -> str:
            return unknown_barcode(name, own)

        def known(name: str) -> bool:
            return self._plate(name) is not None

        answer = whose(work.found, known, near, said, in_name)
        work.barcode, work.said_by = answer.barcode, answer.said_by
        for code, message in answer.problems:
            # Whoever names the plate of this very part of the file has seen what the file says.
            settled = code == "barcode_contradiction" and work.choice.barcode is not None
            work.note(code, message, not settled)
        row = None if answer.barcode is None else self._plate(answer.barcode)
        if row is None:
            return
        if row.campaign_id != self.campaign_id:
            work.note("other_campaign", f"Plate {row.barcode!r} belongs to another campaign.")
        elif row.status == "cancelled":
            work.note("cancelled", f"Plate {row.barcode!r} was cancelled.")
        else:
            work.row = row

    def _plate(self, barcode: str) -> Plate | None:
        return self.told.get(barcode) or self.plates.by_barcode(barcode)

    def _require_once(self, works: Sequence[PlateWork]) -> None:
        """Two parts of a file that are one plate of ours: nobody knows which one counts."""
        seen: dict[str, int] = {}
        for work in works:
            if work.row is None or work.choice.skip:
                continue
            first = seen.setdefault(work.row.id, work.found.index)
            if first != work.found.index:
                message = f"Plates {first} and {work.found.index} of the file are both "
                work.note("repeated", f"{message}{work.row.barcode!r}. Skip one, or name it.")

    def _choose(self, work: PlateWork, asked: AskedIn) -> None:
        """The read that counts, and how its wells agree with the map."""
        read, wrong = choose_read(work.found.reads, work.choice.label or asked.label)
        if read is None:
            work.note(*(wrong or ("", "")))
            return
        work.read = read
        fitted = fit(read, work.map)
        work.missing, work.outside, work.unread = fitted.missing, fitted.outside, fitted.unread
        for code, message, blocking in fitted.problems:
            work.note(code, message, blocking)
        if any(code in ("format", "off_plate") for code, _, _ in fitted.problems):
            work.read = None

    def _judge(
        self, work: PlateWork, asked: AskedIn, limits: Mapping[str, Any], works: list[PlateWork]
    ) -> None:
        """Verdict, proposed flags and values, with what was flagged and is flagged now."""
        from service.assays.uploads.judging import judge  # scipy, when it is needed

        standing = self.flags.standing(work.plate.id)
        whole = any(flag.row is None for flag in standing)
        flagged = flagged_wells(standing)
        work.time_zero = self._time_zero(work, asked, works)
        history = self.results.history(self.campaign_id, work.plate.id)
        readings, levels = work.chosen.by_well, (work.time_zero or {}).get("levels")

        def again() -> Judged:
            return judge(work.map, readings, flagged, asked.rule, limits, history, levels)

        work.judged = again()
        work.flags = self._accepted(work, asked, flagged)
        if work.flags:
            flagged |= set(work.flags)
            work.judged = replace(again(), proposed=work.judged.proposed)
        work.flagged = flagged
        work.wells = () if whole else self.counted(work.map, readings, flagged, work.judged.values)
        if whole:
            work.note("plate_flagged", "The whole plate is flagged; lift that first.")
        self._object(work, asked)

    def _accepted(
        self, work: PlateWork, asked: AskedIn, flagged: Collection[WellAt]
    ) -> dict[WellAt, dict[str, Any]]:
        said = work.choice.accept_flags
        said = asked.accept_flags if said is None else said
        proposed = {parse_well(each["well"]): each for each in work.verdict.proposed}
        if isinstance(said, bool):
            return {at: each for at, each in proposed.items() if said and at not in flagged}
        wanted = {parse_well(name) for name in said}
        for at in sorted(wanted - set(proposed)):
            message = f"No flag is proposed for {well_name(*at)}; flag it with POST .../flags."
            work.note("not_proposed", message)
        return {at: each for at, each in proposed.items() if at in wanted}

    def _object(self, work: PlateWork, asked: AskedIn) -> None:
        """What quality, other plates and other reads have against a commit."""
        judged, row = work.verdict, work.plate
        if judged.error is not None:
            work.note("not_normalised", f"{asked.rule} gives no values: {judged.error}.")
        elif not work.wells:
            work.note("nothing_counts", "No well of the plate would count.")
        if judged.verdict == "fail" and not asked.accept_failed:
            why = "; ".join(judged.reasons)
            work.note("failed", f"Quality control fails the plate: {why}. Say accept_failed.")
        without = 0 if judged.error else len(_without_value(work))
        if without:
            message = f"{without} wells have a reading and no value under {asked.rule}."
            work.note("no_value", message, False)
        self._object_to_names(work)
        earlier = self.results.latest(row.id)
        if earlier is not None and not asked.replace_earlier:
            message = (
                f"{row.barcode!r} was committed before, from {earlier.upload_id}. To let this "
                "read take its place, say replace_earlier; the former one stays in the record."
            )
            work.note("read_before", message)
        others = self.results.scales(self.campaign_id, row.id) - {judged.scale}
        if others:
            message = (
                f"Other plates of the campaign hold values of {min(others)}, this one would be of "
                f"{judged.scale}: one model cannot learn from both. Take the rule of the others, "
                "normalise those anew, or say accept_mixed_scales."
            )
            work.note("mixed_scales", message, not asked.accept_mixed_scales)

    def _object_to_names(self, work: PlateWork) -> None:
        """Measurements are of the campaign's compounds and cell lines."""
        compounds = CampaignCompoundRepository(self.unit.session, self.unit.principal)
        lines = CampaignCellLineRepository(self.unit.session, self.unit.principal)
        known = {row[0] for row in compounds.members(self.campaign_id)}
        known |= {row[0] for row in lines.members(self.campaign_id)}
        used = {name for well in work.wells for name, _ in well.components}
        strange = sorted((used | {well.cell_line for well in work.wells}) - known)
        if strange:
            message = f"{', '.join(strange)} are on the plate and not in the campaign. Add them."
            work.note("not_in_campaign", message)

    def _time_zero(
        self, work: PlateWork, asked: AskedIn, works: Sequence[PlateWork]
    ) -> dict[str, Any] | None:
        """Levels at time zero, from a plate of this very file or one that was kept."""
        said = work.choice.time_zero or asked.time_zero
        if said is None:
            if asked.rule.startswith("growth-rate"):
                work.note("time_zero_missing", "Growth rates need time_zero: the plate at 0 h.")
            return None
        found: Iterable[Read] = ()
        if said.upload_id is None:
            same = [each for each in works if each.barcode == said.barcode]
            found = same[0].found.reads if same else ()
        levels, wrong = self.time_zero_levels(said, list(found))
        if wrong is not None:
            work.note("time_zero", wrong)
            return None
        return {**said.model_dump(), "levels": levels}

    def time_zero_levels(
        self, said: TimeZeroIn, reads: Sequence[Read]
    ) -> tuple[dict[str, Any] | None, str | None]:
        """``({cell line: level}, None)`` or words on why there is none; without ``reads`` those
        that were kept."""
        from service.assays.uploads.judging import level_at_zero
        from service.assays.uploads.kept import kept_reads

        row = self._plate(said.barcode)
        if row is None:
            return None, unknown_barcode(said.barcode, self.barcodes.of_campaign(self.campaign_id))
        reads = reads or kept_reads(self.unit, row.id, said.upload_id)
        if not reads:
            return None, f"There are no readings of {said.barcode!r} to take time zero from."
        read, wrong = choose_read(reads, said.label)
        if read is None:
            return None, f"Time zero: {(wrong or ('', ''))[1]}"
        flagged = flagged_wells(self.flags.standing(row.id))
        try:
            return level_at_zero(map_of(row), read.by_well, flagged), None
        except ValueError as error:
            return None, f"Time zero of {said.barcode!r}: {error}."

    @staticmethod
    def counted(
        plate: PlateMap,
        readings: Mapping[WellAt, Reading],
        flagged: Collection[WellAt],
        values: Mapping[WellAt, float],
    ) -> tuple[WellRow, ...]:
        """The wells that count as measurements: real doses, readings as raw values, ids as names.

        Failed transfers, flagged wells and wells without a value do not.
        """
        found = []
        for well in plate.of(*COUNTED):
            reading = readings.get(well.at)
            if well.excluded or well.at in flagged or well.at not in values or reading is None:
                continue
            if reading.value is None or well.cell_line is None:
                continue
            components = sorted((each.compound, each.real_um) for each in well.contents)
            found.append(
                WellRow(
                    row=reading.line,
                    cell_line=well.cell_line,
                    components=tuple(components),
                    viability=values[well.at],
                    raw_value=reading.value,
                    plate=plate.barcode,
                    well=well_name(*well.at, padded=True),
                    replicate=None if well.replicate is None else str(well.replicate),
                    block=well.block,
                )
            )
        return tuple(found)


def flagged_wells(flags: Iterable[WellFlag]) -> set[WellAt]:
    """The single wells among these flags."""
    return {(f.row, f.column) for f in flags if f.row is not None and f.column is not None}


def _without_value(work: PlateWork) -> list[WellAt]:
    """Wells that would count and have a reading, of which the rule makes nothing."""
    readings, values = work.chosen.by_well, work.verdict.values
    return [
        well.at
        for well in work.map.of(*COUNTED)
        if well.at in readings and readings[well.at].value is not None and well.at not in values
    ]


def _there(value: Something | None) -> Something:
    if value is None:
        raise LookupError("the plate was not looked at so far")
    return value


def unknown_barcode(name: str, own: Iterable[str]) -> str:
    """Words for a barcode that no plate has, with those that look like it."""
    nearest = nearest_names(name, own)
    hint = f" Did you mean {', '.join(map(repr, nearest))}?" if nearest else ""
    return (
        f"There is no plate {name[:60]!r} in this campaign.{hint} Name the plate with barcode=, or "
        "tell us what is on it with POST /v1/campaigns/{id}/plates."
    )


def _strange_choices(asked: AskedIn, n_plates: int) -> list[NoteOut]:
    """What was said of plates that the file does not have, or twice of one."""
    listed = [choice.index for choice in asked.plates]
    off = sorted({index for index in listed if index >= n_plates})
    twice = sorted({index for index in listed if listed.count(index) > 1})
    messages = [f"The file has no plate {index}; it has {n_plates}, from 0." for index in off]
    messages += [f"Plate {index} is named twice in `plates`." for index in twice]
    return [NoteOut(code="no_such_plate", message=each, blocking=True) for each in messages]


def _no_choice(index: int) -> PlateChoiceIn:
    return PlateChoiceIn(index=index)
