"""Small files in every format that the service reads, made here, for tests and for the fuzz.

Values are set by a seed; each maker returns the bytes of a good file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

import numpy as np

LETTERS = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE", "AF"]
SIZES = {96: (8, 12), 384: (16, 24), 1536: (32, 48)}
Cell = str | float | int | None


def values(size: int, seed: int, decimals: int = 0) -> list[list[str]]:
    """Readings of a plate as texts; no two are equal where they are whole numbers."""
    rows, columns = SIZES[size]
    rng = np.random.default_rng(seed)
    if decimals:
        drawn = rng.uniform(0.1, 3.0, (rows, columns))
        return [[f"{x:.{decimals}f}" for x in row] for row in drawn]
    drawn = rng.permutation(rows * columns).reshape(rows, columns) * 7 + 1000
    return [[str(x) for x in row] for row in drawn]


def labelled(grid: Sequence[Sequence[str]], separator: str = ",", corner: str = "") -> list[str]:
    """A grid with column numbers above and row letters beside it."""
    head = [corner, *(str(i + 1) for i in range(len(grid[0])))]
    body = [[LETTERS[i], *row] for i, row in enumerate(grid)]
    return [separator.join(line) for line in (head, *body)]


_ENVISION = "Plate,Repeat,Barcode,Measured height,Group,Label,ScanX,ScanY,Measinfo,Kinetics,"
_ENVISION += "Measurement date,"


def envision(barcodes: Sequence[str] = ("P1", "P2"), size: int = 96, bare: bool = False) -> bytes:
    """EnVision CSV with one grid per barcode."""
    lines = []
    for number, barcode in enumerate(barcodes, 1):
        info = "De=USLum Ex=N/A Em=N/A Wdw=N/A (12)"
        lines += ["Plate information ", _ENVISION]
        lines += [f'{number},1,"=""{barcode}""",14.6,1,LUM(1),0,0,{info},0,9/27/2019 9:41:25 AM,']
        grid = values(size, number)
        lines += ["", *([] if bare else ["Results for LUM(1) - channel 0 (CPS)"])]
        lines += [row + "," for row in (map(",".join, grid) if bare else labelled(grid))]
        lines += [""]
    lines += ["", "Basic assay information ", "Assay ID: ,,,,4231", 'Serial#: ,,,,="1040641"']
    lines += [f"Number of the wells in the plate,,,,{size}", "", ""]
    lines += ["Exported with EnVision Workstation version 1.13.3009.1401"]
    return "\r\n".join(lines).encode()


def mars(size: int = 96, separator: str = ",", decimal: str = ".") -> bytes:
    """BMG MARS CSV."""
    grid = [[text.replace(".", decimal) for text in row] for row in values(size, 3, 3)]
    head = [
        separator.join(["User: USER", "Path: C:\\BMG\\CLARIOstar\\Data", "Test run no.: 412"]),
        separator.join(["Test name: ABS", "Date: 10/16/2024", "Time: 3:09:52 PM"]),
        "",
        separator.join(["ID1: PLATE_7", "ID2: x"]),
        "Absorbance",
        "",
        "Raw Data (450)",
        "",
    ]
    return "\n".join([*head, *labelled(grid, separator), ""]).encode()


def softmax(layout: str = "PlateFormat", kinetic: bool = False, encoding: str = "utf-16") -> bytes:
    """SoftMax Pro text with two wavelengths, or with three times."""
    points, waves = (3, ["405"]) if kinetic else (1, ["450", "650"])
    kind = "Kinetic" if kinetic else "Endpoint"
    times = "60\t30\t" if kinetic else "\t\t"
    head = f"Plate:\tPlate01\t1.3\t{layout}\t{kind}\tAbsorbance\tRaw\tFALSE\t{points}\t{times}"
    head += f"\t\t\t{len(waves)}\t{' '.join(waves)} \t1\t12\t96\t1\t8\t\t"
    tables = [values(96, 10 + i, 4) for i in range(points * len(waves))]
    lines = ["##BLOCKS= 2", "Note:", "made here", "~End", head]
    if layout == "PlateFormat":
        columns = "\t".join(str(i) for i in range(1, 13))
        lines.append("\tTemperature(C)\t" + "\t\t".join([columns] * len(waves)) + "\t\t")
        for point in range(points):
            stamp = f"0:{30 * point:02d}" if kinetic and point < 2 else "1:00" if kinetic else ""
            for row in range(8):
                start = f"{stamp}\t37.00\t" if row == 0 else "\t\t"
                parts = ["\t".join(tables[point * len(waves) + w][row]) for w in range(len(waves))]
                lines.append(start + "\t\t".join(parts) + "\t\t")
            lines.append("")
    else:
        wells = "\t".join(f"{LETTERS[r]}{c + 1}" for r in range(8) for c in range(12))
        lines.append("\tTemperature(C)\t" + wells + "\t")
        for table in tables:
            lines += ["\t37\t" + "\t".join(x for row in table for x in row) + "\t", ""]
    lines += ["~End", "Original Filename: made; Date Last Saved: 1/9/2023 2:23:07 PM", ""]
    return "\r\n".join(lines).encode(encoding)


_TECAN = [
    ["Application: Tecan i-control", "", "", "", "Tecan i-control , 1.11.1.0"],
    ["Device: infinite M1000Pro", "", "", "", "Serial number: 1212008205"],
    ["Date:", "2019-09-27"],
    ["Plate", "", "", "", "Corning 96 Flat Bottom [COS96fb.pdfx]"],
    ["Plate-ID (Stacker)", "", "", "", "TEC01"],
    [],
    ["Label: CTG"],
    ["Mode", "", "", "", "Luminescence"],
    ["Integration Time", "", "", "", "100", "ms"],
    ["Start Time:", "2019-09-27 10:00:00"],
    [],
]


def tecan_rows(seed: int = 5) -> list[list[Cell]]:
    """The cells of an i-control sheet of 96 wells."""
    grid = values(96, seed)
    body: list[list[Cell]] = [["<>", *range(1, 13)]]
    body += [[LETTERS[i], *(float(x) for x in row)] for i, row in enumerate(grid)]
    return [*(list(row) for row in _TECAN), *body, [], ["End Time:", "2019-09-27 10:01:00"]]


def tecan_text() -> bytes:
    """i-control as tab-separated text."""
    rows = [
        ["" if c is None else f"{c:g}" if isinstance(c, float) else str(c) for c in row]
        for row in tecan_rows()
    ]
    return "\n".join("\t".join(row) for row in rows).encode()


def gen5(two_reads: bool = True) -> bytes:
    """Gen5 text with a layout, and one or two reads a well."""
    first, second = values(96, 6), values(96, 7, 3)
    lines = ["", "Software Version\t3.12.08", "", "Protocol File Path:\tC:\\p.prt", ""]
    lines += ["Plate Number\tPlate 1", "Date\t10/10/2022", "Time\t9:15:37 PM"]
    lines += ["Reader Type:\tSynergy H1", "", "Procedure Details", ""]
    lines += ["Plate Type\t96 WELL PLATE (Use plate lid)", "Read\tLUM", "\tLuminescence Endpoint"]
    lines += ["", "Results", "\t" + "\t".join(str(i) for i in range(1, 13))]
    for i in range(8):
        lines.append("\t".join([LETTERS[i], *first[i], "LUM:Lum"]))
        if two_reads:
            lines.append("\t".join(["", *second[i], "NormLum"]))
    return "\n".join([*lines, ""]).encode()


def grid(size: int = 96, bare: bool = False, separator: str = ",") -> bytes:
    """A plain grid."""
    numbers = values(size, 8)
    lines = [separator.join(row) for row in numbers] if bare else labelled(numbers, separator)
    return ("\n".join(lines) + "\n").encode()


def grid_below(*lines: str, bare: bool = False, separator: str = ",") -> bytes:
    """A plain grid of 96 wells with lines above it."""
    return ("\n".join(lines) + "\n").encode() + grid(96, bare, separator)


def long_wells(size: int = 96) -> bytes:
    """Barcode, WellRow, WellColumn, ReadoutValue, BackgroundValue."""
    lines = ["Barcode,WellRow,WellColumn,ReadoutValue,BackgroundValue"]
    for i, row in enumerate(values(size, 9)):
        lines += [f"LW1,{LETTERS[i]},{j + 1},{value},{j}" for j, value in enumerate(row)]
    return ("\n".join(lines) + "\n").encode("utf-8-sig")


def long_ndjson() -> bytes:
    """The same as NDJSON, with well names."""
    lines = []
    for i, row in enumerate(values(96, 9)):
        for j, value in enumerate(row):
            well = f"{LETTERS[i]}{j + 1:02d}"
            lines.append(json.dumps({"barcode": "LW1", "well": well, "signal": int(value)}))
    return ("\n".join(lines) + "\n").encode()


def synergy_rows() -> list[tuple[float, float, float]]:
    """``(dose 1, dose 2, inhibition in percent)`` of one 5 x 5 block."""
    doses = (0.0, 0.1, 0.3, 1.0, 3.0)
    return [(a, b, 100 * (1 - 1 / (1 + a) / (1 + 2 * b))) for a in doses for b in doses]


def synergy(separator: str = ",", decimal: str = ".") -> bytes:
    """A SynergyFinder long table whose scale the values prove."""
    names = ["block_id", "drug_row", "drug_col", "conc_r", "conc_c", "response"]
    names += ["conc_r_unit", "conc_c_unit", "cell_line_name"]
    lines = [separator.join(names)]
    for a, b, value in synergy_rows():
        numbers = [f"{a:g}", f"{1000 * b:g}", f"{value:.4f}"]
        texts = [text.replace(".", decimal) for text in numbers]
        lines.append(separator.join(["1", "MK-1", "MK-2", *texts, "µM", "nM", "A375"]))
    return ("\n".join(lines) + "\n").encode("cp1252")


def matrix_rows() -> list[list[Cell]]:
    """The cells of a SynergyFinder matrix."""
    doses = sorted({b for _, b, _ in synergy_rows()})
    rows: list[list[Cell]] = [["Drug1:", "MK-1"], ["Drug2:", "MK-2"]]
    rows += [["Cell:", "A375"], ["ConcUnit:", "uM"], [None, *doses]]
    for dose in doses:
        rows.append([dose, *(round(v, 4) for a, _, v in synergy_rows() if a == dose)])
    return rows


def as_csv(rows: Sequence[Sequence[Cell]]) -> bytes:
    """Cells as CSV, padded to one width."""
    width = max(len(row) for row in rows)
    lines = []
    for row in rows:
        texts = ["" if cell is None else str(cell) for cell in row]
        lines.append(",".join([*texts, *[""] * (width - len(texts))]))
    return ("\n".join(lines) + "\n").encode()


def combenefit() -> bytes:
    """An AZ-DREAM grid: percent of survival."""
    doses = sorted({b for _, b, _ in synergy_rows()})
    rows: list[list[Cell]] = [[0, *doses]]
    rows += [
        [dose, *(round(100 - v, 4) for a, _, v in synergy_rows() if a == dose)] for dose in doses
    ]
    rows += [["Agent1", "MK-1"], ["Agent2", "MK-2"], ["Unit1", "uM"], ["Unit2", "µM"]]
    return as_csv([*rows, ["Title", "A375"]])


def datarail() -> bytes:
    """A design of 24 wells with two agents."""
    lines = ["barcode,cell_line,role,timepoint,well,agent1,concentration1,agent2,concentration2"]
    for letter in "AB":
        lines += [
            f"D1,A375,treatment,72,{letter}{j:02d},MK-1,{0.1 * j:.1f},," for j in range(1, 13)
        ]
    return ("\n".join(lines) + "\n").encode()


def incucyte() -> bytes:
    """IncuCyte times by well."""
    lines = ["Vessel Name: V1", "Metric: Phase Object Confluence (Percent)", ""]
    wells = [f"{LETTERS[r]}{c + 1}" for r in range(8) for c in range(12)]
    lines.append("\t".join(["Date Time", "Elapsed", *wells]))
    for point in range(3):
        numbers = [x for row in values(96, 20 + point, 3) for x in row]
        lines.append("\t".join([f"1/{point + 1}/2020", str(3 * point), *numbers]))
    return ("\n".join(lines) + "\n").encode()


def xlsx(sheets: dict[str, Sequence[Sequence[Cell]]], extra: str = "") -> bytes:
    """A workbook of plain XML; ``extra`` is put into the last row of the last sheet."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
    types += 'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    types += '<Default Extension="xml" ContentType="application/xml"/></Types>'
    root = f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" '
    root += f'Type="{rel}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{i}" r:id="s{i}"/>'
        for i, name in enumerate(sheets, 1)
    )
    links = "".join(
        f'<Relationship Id="s{i}" Type="{rel}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    files = {
        "[Content_Types].xml": types,
        "_rels/.rels": root,
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{rel}"><sheets>{listed}'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{links}'
        "</Relationships>",
    }
    for i, rows in enumerate(sheets.values(), 1):
        last = extra if i == len(sheets) else ""
        files[f"xl/worksheets/sheet{i}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>'
            + ("".join(_row(number, row) for number, row in enumerate(rows, 1)))
            + f"{last}</sheetData></worksheet>"
        )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return out.getvalue()


def _row(number: int, row: Sequence[Cell]) -> str:
    cells = []
    for column, cell in enumerate(row):
        at = f"{_letters(column)}{number}"
        if isinstance(cell, str) and cell:
            cells.append(f'<c r="{at}" t="inlineStr"><is><t>{escape(cell)}</t></is></c>')
        elif isinstance(cell, float | int):
            cells.append(f'<c r="{at}"><v>{cell!r}</v></c>')
    return f'<row r="{number}">{"".join(cells)}</row>'


def _letters(column: int) -> str:
    return (chr(64 + column // 26) if column >= 26 else "") + chr(65 + column % 26)


SAMPLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "envision": ("run.csv", envision),
    "envision_bare": ("run.csv", lambda: envision(("P9",), 384, bare=True)),
    "mars": ("mars.csv", mars),
    "mars_comma": ("mars.csv", lambda: mars(separator=";", decimal=",")),
    "softmax": ("smp.txt", softmax),
    "softmax_time": ("smp.txt", lambda: softmax("TimeFormat")),
    "softmax_kinetic": ("smp.txt", lambda: softmax(kinetic=True, encoding="utf-8")),
    "tecan_text": ("tecan.txt", tecan_text),
    "gen5": ("gen5.txt", gen5),
    "grid": ("grid.csv", grid),
    "grid_bare": ("grid.tsv", lambda: grid(384, bare=True, separator="\t")),
    "grid_barcode": ("grid.csv", lambda: grid_below("Barcode,P1", "Gain,12", "")),
    "grid_bare_barcode": ("grid.csv", lambda: grid_below("Barcode,P1", bare=True)),
    "long_wells": ("long.csv", long_wells),
    "synergy": ("table.csv", synergy),
    "synergy_comma": ("table.csv", lambda: synergy(";", ",")),
    "matrix": ("matrix.csv", lambda: as_csv(matrix_rows())),
    "combenefit": ("A.B.A375.Rep1.csv", combenefit),
    "incucyte": ("incucyte.txt", incucyte),
}
