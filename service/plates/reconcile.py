"""What was planned against what the dispenser reports: excluded wells and corrected doses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.plates.echo_report import EchoReport, Outcome, ReportedTransfer
from service.plates.geometry import WellAt, well_name
from service.plates.plate_map import Content, PlateMap, Well
from service.plates.problems import PlateError
from service.plates.transfers import Transfer, TransferPlan, needs, with_volumes

_Place = tuple[str, WellAt]
_Stock = tuple[str, float]


@dataclass(frozen=True)
class Note:
    """One well that did not become what was planned, and why."""

    barcode: str
    well: str
    excluded: bool
    text: str


@dataclass(frozen=True)
class Applied:
    """The plates as they are, and a note on every well that differs from the plan."""

    plates: tuple[PlateMap, ...]
    notes: tuple[Note, ...]


def apply_report(plan: TransferPlan, *reports: EchoReport) -> Applied:
    """The plan's plates, corrected by all reports of its runs.

    A well is excluded, with the reason, where one of its transfers brought nothing: it failed, or
    it is in no report though its plate is. Where less or more came out than planned the real doses
    follow the actual volumes. Plates that no report mentions stay as planned. Always start from
    the plan as it was issued: applying the same report again changes nothing. Refuses a run given
    twice and lines on plates, wells or sources that the plan does not have.
    """
    runs = [report.run for report in reports if report.run]
    if len(set(runs)) < len(runs):
        raise PlateError("the same run was reported twice; give each report once")
    planned = _planned(plan)
    lines: dict[tuple[_Place, _Stock], list[ReportedTransfer]] = defaultdict(list)
    for report in reports:
        for line in report.transfers:
            lines[_place(line), _stock(line, planned)].append(line)
    mentioned = {place[0] for place, _ in lines}
    notes: list[Note] = []
    plates = []
    for plate in plan.plates:
        if plate.barcode in mentioned:
            wells = [_corrected(plate, well, lines, notes) for well in plate.wells]
            plate = plate.changed(wells)
        plates.append(plate)
    return Applied(tuple(plates), tuple(notes))


def _planned(plan: TransferPlan) -> dict[str, dict[_Place, list[Transfer]]]:
    """The transfers by plate and then by place; plates without any are there too."""
    found: dict[str, dict[_Place, list[Transfer]]] = {plate.barcode: {} for plate in plan.plates}
    for each in plan.transfers:
        place = (each.destination, each.destination_well)
        found[each.destination].setdefault(place, []).append(each)
    return found


def _place(line: ReportedTransfer) -> _Place:
    return line.destination, line.destination_well


def _stock(
    line: ReportedTransfer, planned: Mapping[str, Mapping[_Place, list[Transfer]]]
) -> _Stock:
    """What a line of the report brought; refused where the plan knows nothing of it."""
    if line.destination not in planned:
        known = ", ".join(sorted(planned))
        raise PlateError(
            f"line {line.line}: destination plate {line.destination!r} is none of this batch "
            f"({known}); was it another run?"
        )
    into = well_name(*line.destination_well)
    transfers = planned[line.destination].get(_place(line))
    if not transfers:
        raise PlateError(
            f"line {line.line}: nothing was to go into well {into} of {line.destination}"
        )
    for each in transfers:
        if (each.source_plate, each.source_well) == (line.source_plate, line.source_well):
            if line.sample not in ("", each.compound):
                raise PlateError(
                    f"line {line.line}: well {into} of {line.destination} got {line.sample!r}, but "
                    f"{each.compound!r} was planned; was the source plate another?"
                )
            return each.compound, each.stock_mm
    source = f"well {well_name(*line.source_well)} of {line.source_plate}"
    raise PlateError(
        f"line {line.line}: well {into} of {line.destination} was to get nothing from {source}"
    )


def _corrected(
    plate: PlateMap,
    well: Well,
    lines: Mapping[tuple[_Place, _Stock], list[ReportedTransfer]],
    notes: list[Note],
) -> Well:
    """The well with its actual volumes; it and the reason are noted where they are not planned."""
    wanted = needs(plate, well)
    if not wanted:
        return well
    actual: dict[_Stock, float] = {}
    lost: list[str] = []
    changed: list[str] = []
    for stock, volume in wanted:
        reported = lines.get(((plate.barcode, well.at), stock), [])
        actual[stock] = round(sum(line.actual_nl for line in reported), 6)
        label = stock[0] if stock[1] == 0 else f"{stock[0]} ({stock[1]:g} mM)"
        if actual[stock] <= 0:
            lost.append(f"{label} {_why(reported)}")
        elif abs(actual[stock] - volume) > 1e-6:
            changed.append(f"{label}: {actual[stock]:g} of {volume:g} nL")
    if changed or lost:
        text = "; ".join([*lost, *changed])
        notes.append(Note(plate.barcode, well.name, bool(lost), text))
        contents = [_with(each, actual) for each in well.contents]
        vehicle = actual.get((plate.vehicle, 0.0), 0.0)
        well = with_volumes(well, contents, vehicle, plate.assay_nl)
        if lost:
            well = replace(well, excluded=_joined(well.excluded, text))
    return well


def _with(content: Content, actual: Mapping[_Stock, float]) -> Content:
    return replace(content, volume_nl=actual[content.compound, content.stock_mm])


def _why(reported: list[ReportedTransfer]) -> str:
    if not reported:
        return "was not dispensed: no report has the transfer"
    reasons = {line.reason for line in reported if line.outcome is Outcome.FAILED}
    return f"was not dispensed: {', '.join(sorted(reasons))}"


def _joined(before: str | None, text: str) -> str:
    return text if before is None else f"{before}; {text}"
