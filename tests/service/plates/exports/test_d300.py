"""D300 protocols: ours read back, real ones give the tables beside them, bad ones are refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plates.exports.d300 import read_d300, write_d300
from service.plates.geometry import PLATE_384, well_name
from service.plates.layout_rules import LayoutRules
from service.plates.plate_map import FILLED, Role
from service.plates.problems import PlateError
from service.plates.safe_xml import read_xml
from service.plates.transfers import fill_vehicle
from tests.service.plates.bench import D300, ECHO, NAMES, block, controls, plates
from tests.service.plates.bench import PLATE_384 as WELLS_384


def d300_plates():
    blocks = [block(dispenser=D300), block("b2", NAMES[2], NAMES[3], dispenser=D300, replicates=2)]
    made = plates(*blocks, rules=LayoutRules(blank=2), controls=controls(D300))
    return fill_vehicle(made, WELLS_384, D300)


def test_ours_reads_back_to_the_same_plates() -> None:
    made = d300_plates()
    read = read_d300(write_d300(made, WELLS_384, D300))
    fluids = {fluid.id: fluid for fluid in read.fluids}
    assert [plate.name for plate in read.plates] == [plate.barcode for plate in made]
    for plate, back in zip(made, read.plates, strict=True):
        assert (back.format, back.assay_nl) == (plate.format, plate.assay_nl)
        assert back.vehicle_limit == WELLS_384.vehicle_limit
        ours = {
            well.at: {(c.compound, c.stock_mm * 1000, c.real_um) for c in well.contents}
            for well in plate.wells
            if well.contents
        }
        theirs = {
            at: {(fluids[i].name.split(" - ")[0], fluids[i].stock_um, um) for i, um in doses}
            for at, doses in back.wells.items()
        }
        assert theirs == ours
    filled = {(n, w.at) for n, plate in enumerate(made) for w in plate.of(*FILLED)}
    assert read.backfilled == filled


def test_dilutions_point_at_their_root() -> None:
    read = read_d300(write_d300(d300_plates(), WELLS_384, D300))
    weak = [fluid for fluid in read.fluids if fluid.root is not None]
    assert weak
    for fluid in weak:
        root = next(each for each in read.fluids if each.id == fluid.root)
        assert fluid.name.startswith(root.name + " - 1:")
        assert fluid.stock_um * fluid.dilution == pytest.approx(root.stock_um)


def test_doses_by_compound() -> None:
    made = d300_plates()
    read = read_d300(write_d300(made, WELLS_384, D300))
    names = {fluid.name: fluid.name.split(" - ")[0].lower() for fluid in read.fluids}
    doses = read.doses(0, names)
    well = made[0].of(Role.SAMPLE)[0]
    assert doses[well.at] == tuple((c.compound.lower(), c.real_um) for c in well.contents)
    with pytest.raises(PlateError, match=r"fluid '.*' of the D300 protocol is no compound"):
        read.doses(0, {})


def test_names_are_written_as_they_are() -> None:
    made = d300_plates()
    names = {NAMES[0]: "<5-FU> & \"co\" 'µ'"}
    read = read_d300(write_d300(made, WELLS_384, D300, names))
    assert read.fluids[0].name == names[NAMES[0]]
    with pytest.raises(PlateError, match="XML cannot hold"):
        write_d300(made, WELLS_384, D300, {NAMES[0]: "bad\x01"})


def test_what_the_writer_refuses() -> None:
    with pytest.raises(PlateError, match=r"no whole number of drops of 2.5 nL"):
        write_d300(d300_plates(), WELLS_384, ECHO)
    full = fill_vehicle(plates(controls=controls(D300)), WELLS_384, ECHO_FINE, 0.004)
    with pytest.raises(PlateError, match="fills vehicle up to the fullest well"):
        write_d300(full, WELLS_384, ECHO_FINE)


def test_plates_without_vehicle_have_no_backfill() -> None:
    read = read_d300(write_d300(plates(), WELLS_384, ECHO))
    assert read.backfilled == frozenset()


ECHO_FINE = type(ECHO)("fine", 0.0005, 10_000)

GOOD = """<?xml version="1.0" encoding="utf-8"?>
<Protocol><!-- a remark -->
<Version>3.1</Version><VolumeUnit>nL</VolumeUnit><ConcentrationUnit>µM</ConcentrationUnit>
<Fluids>
<Fluid ID="0"><Name>A</Name><ByVol>False</ByVol><Concentration>1000</Concentration>
<ConcentrationUnit>mM</ConcentrationUnit><ClassID>0</ClassID></Fluid>
<Fluid ID="7"><Name>A - 1:10</Name><RootFluidID>0</RootFluidID><DilutionFactor>10</DilutionFactor>
<ByVol>False</ByVol><Concentration>100</Concentration></Fluid>
<Fluid ID="2"><Name>DMSO</Name><ByVol>False</ByVol><Concentration>1000</Concentration></Fluid>
</Fluids>
<Plates><Plate><PlateType>Default384</PlateType><Rows>16</Rows><Cols>24</Cols><Name>P1</Name>
<AssayVolume>50000</AssayVolume><DMSOLimit>0.01</DMSOLimit><Wells>
<Well Row="0" Col="0"><Fluid ID="0">1E-05</Fluid><Fluid ID="7">2</Fluid></Well>
<Well Row="15" Col="23"><Fluid ID="2">0.01</Fluid></Well>
</Wells><Randomize /></Plate></Plates><Backfills /></Protocol>"""


def test_a_file_by_hand() -> None:
    read = read_d300(GOOD.encode())
    assert [(f.id, f.name, f.stock_um, f.root) for f in read.fluids] == [
        ("0", "A", 1000, None),
        ("7", "A - 1:10", 100, "0"),
        ("2", "DMSO", 1000, None),
    ]
    assert read.plates[0].format is PLATE_384
    assert read.plates[0].wells[0, 0] == (("0", 1e-05), ("7", 2.0))
    doses = read.doses(0, {"A": "a", "A - 1:10": "a"})
    assert doses == {(0, 0): (("a", 2.00001),), (15, 23): ()}


@pytest.mark.parametrize("micro", ["µM", "μM", "uM"])
def test_both_micro_signs_and_encodings(micro: str) -> None:
    text = GOOD.replace("µM", micro)
    for encoding in ("utf-8", "utf-16", "utf-8-sig"):
        data = text.replace('encoding="utf-8"', "").encode(encoding)
        assert read_d300(data).plates == read_d300(GOOD.encode()).plates


def test_other_units_are_converted() -> None:
    text = GOOD.replace("<ConcentrationUnit>µM", "<ConcentrationUnit>nM", 1)
    text = text.replace("<VolumeUnit>nL", "<VolumeUnit>uL").replace("50000", "50")
    read = read_d300(text.encode())
    assert read.fluids[0].stock_um == 1
    assert read.plates[0].assay_nl == 50_000
    assert read.plates[0].wells[0, 0][1] == ("7", 0.002)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<Protocol>", "<Protocol", "line 2: the D300 protocol is not XML"),
        ("<Protocol>", "<!DOCTYPE x [<!ENTITY a 'b'>]><Protocol>", "has a DOCTYPE"),
        ("Protocol>", "Recipe>", "not <Recipe>"),
        ("3.1</V", "4.0</V", "version 4.0 are not read"),
        ("<Version>3.1</Version>", "", "0 times <Version>, expected once"),
        ("<Wells>", "<Wells></Wells><Wells>", "2 times <Wells>, expected once"),
        ('<Well Row="0"', '<Hole Row="0"', "not XML"),
        ('<Well Row="15" Col="23"><Fluid ID="2">0.01</Fluid></Well>', "<Hole/>", "holds <Hole>"),
        ("<Rows>16", "<Rows>16.5", "no plate of 16.5 x 24"),
        ('<Fluid ID="7">2', '<Fluid ID="7">1_0', "dose of 7 is '1_0'"),
        ('<Fluid ID="7">2', '<Fluid ID="7">1e999', "dose of 7 is '1e999'"),
        ("<VolumeUnit>nL", "<VolumeUnit>gal", "'gal' is none of nL"),
        ("<ConcentrationUnit>µM", "<ConcentrationUnit>mg_mL", "'mg_mL' is none of"),
        ('<Fluid ID="7"><N', '<Fluid ID="0"><N', "two fluids the same ID"),
        ('<Fluid ID="7"><N', "<Fluid><N", "no ID"),
        ("<ByVol>False", "<ByVol>True", "dosed by volume"),
        ("<Concentration>1000<", "<Concentration>lots<", "its stock is 'lots'"),
        ("<Concentration>1000<", "<Concentration>-1<", "its stock is '-1'"),
        ("<Name>A<", "<Name><", "<Name> of the D300 protocol is empty"),
        ("<Rows>16", "<Rows>17", "no plate of 17 x 24"),
        ('Row="15"', 'Row="16"', "no well Q24"),
        ('Row="15"', 'Row="-1"', "Row='-1' is no whole number"),
        ('Row="15" Col="23"', 'Row="0" Col="0"', "lists well A1 twice"),
        ('<Fluid ID="7">2', '<Fluid ID="9">2', r"well A1 asks for fluid '9', which is not listed"),
        ('<Fluid ID="7">2', '<Fluid ID="0">2', "asks for fluid 0 twice"),
        ('<Fluid ID="7">2', '<Fluid ID="7">nan', "dose of 7 is 'nan'"),
        ('<Fluid ID="7">2', '<Fluid ID="7">1,5', "dose of 7 is '1,5'"),
        ("<Randomize />", "<Randomize><Well/></Randomize>", "switch randomisation off"),
        ("<AssayVolume>50000", "<AssayVolume>", "AssayVolume is ''"),
        ("<Wells>", "<Wells/><W>", "not XML"),
        (
            "<Backfills />",
            '<Backfills><Backfill><Wells><Well P="3" R="0" C="0"/></Wells></Backfill></Backfills>',
            "back-fill names plate 4, of 1",
        ),
    ],
)
def test_what_is_refused(old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(PlateError, match=words):
        read_d300(GOOD.replace(old, new).encode())


def test_a_protocol_without_plates_is_refused() -> None:
    start, end = GOOD.index("<Plates>"), GOOD.index("</Plates>")
    with pytest.raises(PlateError, match="has no plate"):
        read_d300((GOOD[:start] + "<Plates>" + GOOD[end:]).encode())


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff", b"plain text", b'<?xml version="1.0" encoding="nope"?><a/>']
)
def test_what_is_no_xml(data: bytes) -> None:
    with pytest.raises(PlateError):
        read_d300(data)


@given(st.data())
def test_a_damaged_protocol_is_read_or_refused(data: st.DataObject) -> None:
    good = GOOD.encode()
    place, cut = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 8))
    bad = good[:place] + data.draw(st.binary(max_size=4)) + good[place + cut :]
    try:
        read_d300(bad)
    except PlateError as problem:
        assert str(problem)  # noqa: PT017 - any words will do, any other exception will not


def test_entities_never_grow() -> None:
    laughs = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'
    with pytest.raises(PlateError, match="DOCTYPE"):
        read_xml(laughs, "file")


def sheet(path: Path, name: str) -> list[list[str]]:
    calamine = pytest.importorskip("python_calamine")
    book = calamine.CalamineWorkbook.from_path(str(path))
    return [list(map(str, row)) for row in book.get_sheet_by_name(name).to_python()]


def table(path: Path) -> dict[str, dict[str, float]]:
    """The expected table: the compounds and doses of every well that has any."""
    calamine = pytest.importorskip("python_calamine")
    names = calamine.CalamineWorkbook.from_path(str(path)).sheet_names
    found: dict[str, dict[str, float]] = {}
    for suffix in ("", "_2"):
        if f"Gnumber{suffix}" not in names:
            continue
        compounds, doses = sheet(path, f"Gnumber{suffix}"), sheet(path, f"Concentration{suffix}")
        for row, cells in enumerate(compounds):
            for column, compound in enumerate(cells):
                if compound == "vehicle":
                    found.setdefault(well_name(row, column), {})
                elif compound not in ("", "untreated"):
                    dose = float(doses[row][column])
                    found.setdefault(well_name(row, column), {})[compound] = dose
    return found


@pytest.mark.data
@pytest.mark.parametrize(("kind", "plates", "n_wells"), [("384", 6, 1872), ("96", 22, 1320)])
def test_the_real_protocols_give_the_tables_beside_them(
    data_folder: Path, kind: str, plates: int, n_wells: int
) -> None:
    folder = data_folder / "d300"
    if not folder.is_dir():
        pytest.skip("the D300 protocols are not here")
    read = read_d300((folder / f"D300_{kind}_well_plate_example.tdd").read_bytes())
    names = dict(sheet(folder / f"Gnumber_D300_{kind}_well_plate.xlsx", "D300_Gnumber")[1:])
    assert len(read.plates) == plates
    assert sum(len(plate.wells) for plate in read.plates) == n_wells
    for index in range(plates):
        path = folder / f"output_files_{kind}w" / "reference" / f"trt_P{index + 1}.xlsx"
        expected, doses = table(path), read.doses(index, names)
        found = {well_name(*at): dict(each) for at, each in doses.items()}
        assert found == expected, path.name
    # The proof that stocks are in uM: no dispense is smaller than a drop of 11 pL.
    stock = {fluid.id: fluid.stock_um for fluid in read.fluids}
    smallest = min(
        um * plate.assay_nl / stock[fluid]
        for plate in read.plates
        for doses in plate.wells.values()
        for fluid, um in doses
    )
    assert 0.011 < smallest < math.inf
