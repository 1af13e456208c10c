"""The real files, against readings made here with csv and plain loops only."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from service.assays.files_in import (
    FileError,
    LayoutFile,
    ReaderFile,
    TableFile,
    parse_file,
    parse_files,
)

pytestmark = pytest.mark.data

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def text_of(path: Path) -> str:
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    return content.decode(encoding).replace("\r\n", "\n")


def read(path: Path) -> ReaderFile:
    found = parse_file(path.name, path.read_bytes())
    assert isinstance(found, ReaderFile)
    return found


def wells(file: ReaderFile) -> list[dict[tuple[int, int], float]]:
    return [
        {(r.row, r.column): r.value for r in plate.readings if r.value is not None}
        for plate in file.plates
    ]


def envision_by_hand(path: Path) -> list[dict[tuple[int, int], float]]:
    """Grids between the plates' headers and the footer, with labels or without."""
    rows = list(csv.reader(path.read_text("latin-1").splitlines()))
    end = next(i for i, row in enumerate(rows) if row and row[0].startswith("Basic assay"))
    plates: list[dict[tuple[int, int], float]] = []
    for at, row in enumerate(rows[:end]):
        if row[:1] and row[0].startswith("Plate information"):
            plates.append({})
            bare = -1
        if len(row) > 10 and all(re.fullmatch(r"[\d.]*", cell) for cell in row):
            bare += 1
            labels = row[1:4] == ["01", "02", "03"]
            found = {} if labels else {(bare, c): x for c, x in enumerate(row)}
        elif len(row) > 10 and re.fullmatch("[A-P]", row[0]):
            found = {(LETTERS.index(row[0]), c): x for c, x in enumerate(row[1:])}
        else:
            continue
        plates[-1] |= {well: float(x) for well, x in found.items() if x}
        assert at
    return plates


def test_envision_run_all_28_plates(data_folder: Path) -> None:
    paths = sorted((data_folder / "envision_run").glob("*.csv"))
    assert len(paths) == 28
    for path in paths:
        file = read(path)
        by_hand = envision_by_hand(path)
        assert wells(file) == by_hand
        (plate,) = file.plates
        assert plate.barcode == path.stem
        assert (plate.format.size, len(plate.readings), plate.n_read) == (384, 384, 252)
        assert plate.measurement.kind == "luminescence"
        assert plate.unit is None  # the file does not say one


ENVISION = {
    "PE_Envision_absorbance_A450_example.csv": [("A", 96)] * 2,
    "PE_Envision_absorbance_example01.csv": [(None, 384)] * 3,
    "PE_Envision_extra_espaces.csv": [(None, 48), ("Counts", 48), ("Counts", 48)],
    "PE_Envision_fluorescence_example01.csv": [(None, 48), ("Counts", 48), ("Counts", 48)],
    "PE_Envision_fluorescence_example02.csv": [(None, 32)] + [(None, 96)] * 4,
    "PE_Envision_fluorescence_example03.csv": [(None, 384)],
    "PE_Envision_fluorescence_example04.csv": [(None, 384)] * 4,
    "PE_Envision_luminescence_example01.csv": [(None, 96), ("CPS", 96)] * 2,
    "PE_Envision_missing_plate_maps.csv": [(None, 384), ("CPS", 384)] * 2,
}


@pytest.mark.parametrize("name", ENVISION)
def test_envision_variants(data_folder: Path, name: str) -> None:
    path = data_folder / "instruments/perkin_elmer_envision" / name
    file = read(path)
    assert [(plate.unit, plate.n_read) for plate in file.plates] == ENVISION[name]
    assert wells(file) == envision_by_hand(path)


MARS = {
    "16-02-29_14-34-46_Transcreener_ADP2_FI.csv": (384, 302, "fluorescence", 620.0),
    "16-03-03_13-25-45_472_QC_384_FI.csv": (384, 68, "fluorescence", 520.0),
    "16-03-03_16-54-03_472_ABS_384_QC.csv": (384, 99, "absorbance", 484.0),
    "24-10-16_15-09-52_Luminescence_1536.csv": (1536, 288, "luminescence", None),
    "BMG_Labtech_format.CSV": (96, 96, "absorbance", 450.0),
    "MARS_V3.40_V2_Output_Missing_line_end_separators.csv": (384, 302, "fluorescence", 620.0),
    "PHERAstar_output_file.CSV": (96, 96, "absorbance", 450.0),
}


@pytest.mark.parametrize("name", MARS)
def test_mars_variants(data_folder: Path, name: str) -> None:
    path = data_folder / "instruments/bmg_mars" / name
    (plate,) = read(path).plates
    got = (
        plate.format.size,
        plate.n_read,
        plate.measurement.kind,
        plate.measurement.wavelength_nm,
    )
    assert got == MARS[name]
    by_hand = {}
    for line in path.read_text("latin-1").splitlines():
        cells = line.split(",")
        if re.fullmatch("[A-Za-z]", cells[0]) and len(cells) > 10:
            row = LETTERS.index(cells[0]) if cells[0] in LETTERS else 26 + ord(cells[0]) - 97
            by_hand |= {(row, c): float(x) for c, x in enumerate(cells[1:]) if x}
    assert {(r.row, r.column): r.value for r in plate.readings if r.value is not None} == by_hand


def test_mars_1536_small_letter_is_row_ae(data_folder: Path) -> None:
    folder = data_folder / "instruments/bmg_mars"
    file = read(folder / "24-10-16_15-09-52_Luminescence_1536.csv")
    assert {r.row for r in file.plates[0].readings} == {0, 6, 12, 18, 24, 30}
    assert "A, G, M, S, Y, AE of 32" in file.notes[0]


# name -> (readings with a number per plate, wavelengths, format)
SOFTMAX = {
    "ACSINS_absorbance_timeformat_spectrum.txt": ([360] * 51, 384),
    "MD_SMP_absorbance_endpoint_example01.txt": ([96] * 2, 96),
    "MD_SMP_absorbance_endpoint_example02.txt": ([96] * 2, 96),
    "MD_SMP_absorbance_endpoint_example04.txt": ([96] * 9, 96),
    "MD_SMP_absorbance_endpoint_example05.txt": ([96] * 5, 96),
    "MD_SMP_absorbance_endpoint_partial_plate_example01.txt": ([80] * 3, 96),
    "MD_SMP_absorbance_endpoint_partial_plate_example02.txt": ([80] * 3, 96),
    "MD_SMP_absorbance_endpoint_partial_plate_example03.txt": ([24] * 3, 96),
    "MD_SMP_absorbance_endpoint_partial_plate_example04.txt": ([32] * 3, 96),
    "MD_SMP_absorbance_endpoint_partial_plate_example05.txt": ([32] * 3, 96),
    "MD_SMP_fluorescence_endpoint_example06.txt": ([96] * 9, 96),
    "MD_SMP_fluorescence_endpoint_example07.txt": ([96] * 5, 96),
    "MD_SMP_fluorescence_endpoint_partial_plate_example01.txt": ([32] * 3, 96),
    "MD_SMP_fluorescence_endpoint_partial_plate_example02.txt": ([32] * 3, 96),
    "MD_SMP_luminescence_endpoint_example03.txt": ([48] * 2, 96),
    "MD_SMP_luminescence_endpoint_example08.txt": ([96] * 9, 96),
    "MD_SMP_luminescence_endpoint_example09.txt": ([96] * 5, 96),
    "MD_SMP_luminescence_endpoint_partial_plate_example01.txt": ([32] * 3, 96),
    "MD_SMP_luminescence_endpoint_partial_plate_example02.txt": ([32] * 3, 96),
    "abs_endpoint_plates.txt": ([95, 96, 96], 96),  # one well reads 'Path?'
    "fl_kinetic_plates.txt": ([6] * 8, 6),
    "group_cols_with_int_sample_names.txt": ([96], 96),
    "group_with_partial_rows.txt": ([96] * 2, 96),
    "partial_plate.txt": ([256] * 21, 384),
    "softmaxpro_example_group_with_missing_calc_column.txt": ([96] * 2, 96),
    "softmaxpro_example_reduced.txt": ([96], 96),
    "softmaxpro_no_calc_docs.txt": ([96] * 3, 96),
    "spectramax340_kinetic_partial_plate.txt": ([72] * 3, 96),
    "spectrum_data.txt": ([384] * 4, 384),
}


@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_counts(data_folder: Path, name: str) -> None:
    file = read(data_folder / "instruments/moldev_softmax_pro" / name)
    counts, size = SOFTMAX[name]
    assert [plate.n_read for plate in file.plates] == counts
    assert {plate.format.size for plate in file.plates} == {size}


def test_softmax_values_by_hand_plate_format(data_folder: Path) -> None:
    path = data_folder / "instruments/moldev_softmax_pro/abs_endpoint_plates.txt"
    lines = text_of(path).split("\n")
    file = read(path)
    for channel, plate in enumerate(file.plates):
        for reading in plate.readings:
            text = lines[18 + reading.row].split("\t")[2 + 13 * channel + reading.column]
            if text == "Path?":
                assert (reading.value, reading.flag) == (None, "error")
            else:
                assert reading.value == float(text.replace(",", "."))
    assert "decimal comma" in file.notes[-1]


def test_softmax_values_by_hand_spectrum(data_folder: Path) -> None:
    path = data_folder / "instruments/moldev_softmax_pro/partial_plate_with_empty_values.txt"
    lines = text_of(path).split("\n")
    plates = read(path).plates
    assert [plate.measurement.wavelength_nm for plate in plates] == list(range(520, 571))
    for number, plate in enumerate(plates):
        for reading in plate.readings:
            text = lines[3 + 17 * number + reading.row].split("\t")[2 + reading.column].strip()
            known = re.fullmatch(r"-?[\d.]+", text)
            assert reading.value == (float(text) if known else None)
            assert reading.flag == (None if known else "error" if text == "???" else "empty")
            assert reading.line == 4 + 17 * number + reading.row


def test_softmax_values_by_hand_time_format(data_folder: Path) -> None:
    path = data_folder / "instruments/moldev_softmax_pro/MD_SMP_absorbance_endpoint_example02.txt"
    lines = text_of(path).split("\n")
    for head, plate in zip((2, 9), read(path).plates, strict=True):
        names, values = lines[head].split("\t"), lines[head + 1].split("\t")
        by_hand = {name: float(x) for name, x in zip(names[2:], values[2:], strict=True) if name}
        got = {f"{LETTERS[r.row]}{r.column + 1}": r.value for r in plate.readings}
        assert got == by_hand


def test_softmax_kinetic_times_and_wavelengths(data_folder: Path) -> None:
    file = read(data_folder / "instruments/moldev_softmax_pro/fl_kinetic_plates.txt")
    assert [plate.time_h for plate in file.plates[::2]] == pytest.approx(
        [0, 90 / 3600, 180 / 3600, 270 / 3600]
    )
    assert file.plates[2].readings[4].value == 21.40594
    assert {p.measurement.excitation_nm for p in file.plates} == {485.0}
    assert "the reduced tables of 1 plates left aside" in file.notes


BROKEN = {
    "instruments/perkin_elmer_envision/example01_missing_header_error.csv": (21, "Plate inform"),
    "instruments/bmg_mars/errors/file_with_no_delimiter_malformed.csv": (1, "no colon"),
    "instruments/moldev_softmax_pro/no_measurements.txt": (2, "no '~End'"),
    "instruments/moldev_softmax_pro/errors/header_size_mismatch.txt": (11, "1 blocks"),
    "instruments/moldev_softmax_pro/errors/lum_spectrum_columns.txt": (22, "spectrum"),
    "instruments/moldev_softmax_pro/errors/missing_kinetic_measurement.txt": (29, "2 tables"),
    "instruments/moldev_softmax_pro/errors/missing_measurement_table_row.txt": (8, "3 rows"),
    "instruments/moldev_softmax_pro/errors/multi-plate-block_non-unique_plate_ID.txt": (
        14,
        "already",
    ),
    "instruments/moldev_softmax_pro/errors/trf_well_scan_plates.txt": (22, "Well Scan"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_line_and_reason(data_folder: Path, name: str) -> None:
    path = data_folder / name
    line, reason = BROKEN[name]
    with pytest.raises(FileError, match=reason) as caught:
        parse_file(path.name, path.read_bytes())
    assert caught.value.line == line
    assert caught.value.fix
    assert not caught.value.unexpected


def test_every_file_in_an_errors_folder_is_in_the_list(data_folder: Path) -> None:
    folder = data_folder / "instruments"
    for reader in ("perkin_elmer_envision", "bmg_mars", "moldev_softmax_pro"):
        for path in (folder / reader).glob("errors/*"):
            assert str(path.relative_to(data_folder)) in BROKEN


def test_the_whole_envision_run(data_folder: Path) -> None:
    folder = data_folder / "envision_run"
    files = [(p.name, p.read_bytes()) for p in sorted(folder.glob("*")) if p.suffix != ".md"]
    found = dict(parse_files(files))
    run = found["Manifest.xlsx"]
    assert isinstance(run, LayoutFile)
    assert len(run.plates) == 28
    treated = {plate.barcode: plate for plate in run.plates}["H0109269D01"]
    assert (treated.time_h, treated.cell_line, treated.format.size) == (120.0, "cfac7bda", 384)
    assert treated.origin == "B2"  # only so was every well of the template read
    contents = {(well.row, well.column): well.components for well in treated.wells}
    assert len(contents) == 198
    assert contents[2, 2] == (("G02948255", 30.0),)
    assert contents[13, 12][0][0] == "G03409187"
    # The strongest dose of the second series kills: the join has not moved by a well.
    reader = found["H0109269D01.csv"]
    assert isinstance(reader, ReaderFile)
    values = {(r.row, r.column): r.value for r in reader.plates[0].readings}
    assert values[2, 12] == 31772
    assert contents[2, 12] == (("G02663206", 20.0),)
    assert sum(isinstance(each, ReaderFile) for each in found.values()) == 28


def test_combocat_raw_plate(data_folder: Path) -> None:
    path = data_folder / "combocat384/dense_mode/raw/CHP134_Rucaparib_AZD1390.csv"
    (plate,) = read(path).plates
    rows = [[float(x) for x in line.split(",")] for line in path.read_text().splitlines()]
    assert (len(rows), len(rows[0]), plate.format.size) == (16, 24, 384)
    assert all(r.value == rows[r.row][r.column] for r in plate.readings)
    assert len(plate.readings) == 384
    assert plate.identifiers == ("CHP134_Rucaparib_AZD1390",)


def test_combocat_meta(data_folder: Path) -> None:
    path = data_folder / "combocat384/dense_mode/meta/meta_dense.csv"
    table = parse_file(path.name, path.read_bytes())
    assert isinstance(table, TableFile)
    assert table.scale is None
    assert [row.value for row in table.rows] == [None] * 10
    assert table.rows[1].components == (("AZD1390", 8.33333325), ("Rucaparib", 8.33333325))


def test_oneil_table_csv_and_xlsx_say_the_same(data_folder: Path) -> None:
    folder = data_folder / "synergy_tables/web_upload_formats"
    tables = [
        parse_file(n, (folder / n).read_bytes()) for n in ("ONEILTable.csv", "ONEILTable.xlsx")
    ]
    rows = list(csv.DictReader((folder / "ONEILTable.csv").read_text().splitlines()))
    for table in tables:
        assert isinstance(table, TableFile)
        assert len(table.rows) == len(rows) == 200
        for got, want in zip(table.rows, rows, strict=True):
            doses = {want["drug1"]: float(want["conc1"]), want["drug2"]: float(want["conc2"])}
            assert dict(got.components) == {name: x for name, x in doses.items() if x}
            assert got.value == pytest.approx(float(want["response"]), rel=1e-12)
            assert (got.cell_line, got.block) == (want["cell_line_name"], want["block_id"])
        assert table.scale is not None
        assert (table.scale.quantity, table.scale.unit) == ("inhibition", "percent")
        assert table.scale.must_ask == ()


def test_oneil_matrix_agrees_with_the_table(data_folder: Path) -> None:
    folder = data_folder / "synergy_tables/web_upload_formats"
    matrix = parse_file("ONEILMatrix.xlsx", (folder / "ONEILMatrix.xlsx").read_bytes())
    table = parse_file("ONEILTable.csv", (folder / "ONEILTable.csv").read_bytes())
    assert isinstance(matrix, TableFile)
    assert isinstance(table, TableFile)
    assert len(matrix.rows) == 50
    singles = {
        (row.block, tuple(dose for _, dose in row.components)): row.value
        for row in table.rows
        if [name for name, _ in row.components] == ["Niraparib"]
    }
    found = [r for r in matrix.rows if [n for n, _ in r.components] == ["Nirapparib"]]
    assert len(found) == 4
    for row in found:
        assert row.value == pytest.approx(singles[row.block, (row.components[0][1],)])


def test_ncats_table_of_three_compounds(data_folder: Path) -> None:
    path = data_folder / "synergy_tables/web_upload_formats/NCATSTable.csv"
    table = parse_file(path.name, path.read_bytes())
    assert isinstance(table, TableFile)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(table.rows) == len(rows) == 2400
    for got, want in zip(table.rows, rows, strict=True):
        doses = {want[f"drug{i}"]: float(want[f"conc{i}"]) for i in (1, 2, 3)}
        assert dict(got.components) == {name: x for name, x in doses.items() if x}
        assert got.value == float(want["response"])
    assert table.scale is not None
    assert table.scale.quantity == "viability"


@pytest.mark.parametrize(
    ("name", "count", "empty"),
    [
        ("050719_PC9_LCL_OSI_rawdata.xlsx", 9450, 150),
        ("050719_PC9_PIM_OSI_rawdata.xlsx", 9450, 150),
        ("071318_PC9_OSI_Bin_rawdata.xlsx", 9450, 0),
        ("072718_PC9_BYL_PIM_rawdata.xlsx", 12600, 200),
        ("072718_PC9_PIM20_Byl30_single.xlsx", 6000, 100),
        ("090618_PC9_TXL_Erl_rawdata.xlsx", 12600, 200),
    ],
)
def test_incucyte_pairs(data_folder: Path, name: str, count: int, empty: int) -> None:
    table = parse_file(name, (data_folder / "incucyte_pairs" / name).read_bytes())
    assert isinstance(table, TableFile)
    assert len(table.rows) == count
    assert sum(row.flag == "empty" for row in table.rows) == empty
    assert table.scale is not None
    assert table.scale.quantity == "raw"
    assert {row.replicate for row in table.rows} == {"1", "2", "3"}


def test_incucyte_values_both_micro_signs(data_folder: Path) -> None:
    name = "050719_PC9_LCL_OSI_rawdata.xlsx"
    table = parse_file(name, (data_folder / "incucyte_pairs" / name).read_bytes())
    assert isinstance(table, TableFile)
    first = [row for row in table.rows if row.sheet == "phase_high"][:21]
    assert first[0].value == 10.3461
    assert first[0].role == "control"
    assert first[8].components == (("LCL161", 5.0), ("OSI-906", 10.0))
    assert first[20].role == "blank"
    nano = parse_file(
        "x.xlsx", (data_folder / "incucyte_pairs/090618_PC9_TXL_Erl_rawdata.xlsx").read_bytes()
    )
    assert isinstance(nano, TableFile)
    assert nano.rows[1].components == (("Paclitaxel", 0.0008),)
