"""Files that we wrote ourselves and that hold no reading: plate maps, pick lists, worklists.

They lie beside the reader files on the bench's computer, so that one of them comes in by mistake.
"""

from __future__ import annotations

from service.assays.files_in.grid import column_labels, row_of
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

_MAP = {"barcode", "well", "role", "compound_1"}
_DOSES = {"nominal_um_1", "real_um_1"}
_MAP_PARTS = ("compound_", "nominal_um_", "real_um_", "stock_mm_", "volume_nl_")
_MAP_OTHERS = {
    "plate", "format", "row", "column", "cell_line", "block", "replicate", "excluded", "vehicle_nl"
}  # fmt: skip
_PICK_LIST = {"source well", "destination well", "transfer volume"}
_TRANSFERRED = {"actual volume", "transfer status", "date time point"}
_WORKLIST = {"source_labware", "source_well", "destination_labware", "destination_well"}
_SEND_READING = "send the file that the reader wrote; we know what is on the plate"
_MARGIN = {"", "<>", "well", "row"}


def refuse_own(source: Source) -> None:
    """Raise :class:`FileError` with the true reason for a file of ours; else do nothing."""
    if source.kind not in {"text", "workbook", "table"}:
        return
    for sheet in source.sheets:
        head = next((at for at in range(len(sheet.rows)) if not sheet.is_empty(at)), None)
        if head is None:
            continue
        names = {cell.strip().lower() for cell in sheet.rows[head] if cell.strip()}
        if names >= _MAP and names & _DOSES:
            raise _map(sheet, head, names)
        _refuse_transfers(sheet, head, names)
        _refuse_map_grid(sheet, head)


def _map(sheet: Sheet, head: int, names: set[str]) -> FileError:
    known = _MAP | _MAP_OTHERS
    more = [each for each in sorted(names - known) if not each.startswith(_MAP_PARTS)]
    if not more:
        what = "this is the plate map that we issued, not a reading"
        return sheet.error(None, head, what, _SEND_READING)
    what = f"this is the plate map that we issued, with {shorten(', '.join(more))} added"
    fix = "send the readings alone: columns Barcode, Well and Value, or the reader's own file"
    return sheet.error(None, head, what, fix)


def _refuse_transfers(sheet: Sheet, head: int, names: set[str]) -> None:
    if names >= _PICK_LIST and not names & _TRANSFERRED:
        what = "this is a pick list for a dispenser, not a reading"
        raise sheet.error(None, head, what, _SEND_READING)
    if names >= _WORKLIST:
        what = "this is a worklist for a robot, not a reading"
        raise sheet.error(None, head, what, _SEND_READING)


def _refuse_map_grid(sheet: Sheet, head: int) -> None:
    """A grid of ours has the barcode in its corner, above the letters of the rows."""
    corner, columns = sheet.cell(head, 0), column_labels(sheet, head)
    if columns not in {12, 24, 48} or corner.lower() in _MARGIN:
        return
    if row_of(sheet.cell(head + 1, 0), columns) != 0:
        return
    what = (
        f"with {shorten(corner)} in its corner this is the plate map that we issued, as a grid, "
        "not a reading"
    )
    fix = f"{_SEND_READING}; a grid of readings has its barcode in a line above"
    raise sheet.error(None, head, what, fix)
