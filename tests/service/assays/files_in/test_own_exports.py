"""What we gave out comes back by mistake: it is called by its name, and never read."""

from __future__ import annotations

import pytest

from benchmarks.file_samples import xlsx
from service.assays.files_in import FileError, parse_file
from service.plates.exports.echo import COLUMNS
from service.plates.exports.plate_csv import GRIDS, grid_csv, long_csv
from service.plates.exports.worklist import worklist_csv
from service.plates.geometry import PLATE_384
from service.plates.plate_map import Content, PlateMap, Role, Well, empty_plate


def plate() -> PlateMap:
    well = Well(
        at=(1, 1),
        role=Role.SAMPLE,
        cell_line="X",
        contents=(Content("A", 1.0, 1.01, 10.0, 5.0),),
        block="1",
        vehicle_nl=2.5,
    )
    vehicle = Well(at=(2, 2), role=Role.VEHICLE, cell_line="X", vehicle_nl=7.5)
    return empty_plate("P1-0001", 1, PLATE_384, 5e4).changed([well, vehicle])


def refused(content: bytes, name: str = "a.csv") -> FileError:
    with pytest.raises(FileError) as caught:
        parse_file(name, content)
    assert not caught.value.unexpected
    return caught.value


def test_the_long_map() -> None:
    error = refused(long_csv([plate()]).encode())
    assert error.message == "this is the plate map that we issued, not a reading"
    assert "the file that the reader wrote" in error.fix


def test_the_long_map_saved_by_excel() -> None:
    rows = [line.split(",") for line in long_csv([plate()]).splitlines()]
    assert "plate map that we issued" in refused(xlsx({"plates": rows}), "a.xlsx").message


def test_the_long_map_with_readings_beside_it() -> None:
    lines = long_csv([plate()]).splitlines()
    more = [lines[0] + ",Signal", *(line + ",5" for line in lines[1:])]
    error = refused("\n".join(more).encode())
    assert "with 'signal' added" in error.message
    assert "Barcode, Well and Value" in error.fix


@pytest.mark.parametrize("show", GRIDS)
def test_grids(show: str) -> None:
    error = refused(grid_csv(plate(), show).encode())
    assert "with 'P1-0001' in its corner this is the plate map" in error.message


def test_pick_lists_and_worklists() -> None:
    line = ",".join(["x"] * len(COLUMNS))
    assert "pick list" in refused((",".join(COLUMNS) + "\n" + line).encode()).message
    assert "worklist" in refused(worklist_csv([]).encode()).message
