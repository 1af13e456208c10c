"""Real upload files of SynergyFinder and the O'Neil screen, and the same shapes made up."""

import gzip
import io
import os
from pathlib import Path

import pytest

from service.assays.tables_in import Declaration, TableReader

DATA = Path(os.environ.get("NEXTROUND_DATA", Path(__file__).parents[5] / "shared" / "data"))
WEB = "synergy_tables/web_upload_formats"

ONEIL_SHAPE = b"""block_id,drug1,drug2,cell_line_name,conc1,conc2,response,conc_unit\r
1,MK-1775,Niraparib,OCUBM,0,0,-6.26E-04,uM\r
1,MK-1775,Niraparib,OCUBM,0,0.223,2.127463532,uM\r
1,MK-1775,Niraparib,OCUBM,0.0325,223,91.69048743,nM"""

NCATS_SHAPE = b"""block_id,drug1,drug2,drug3,conc1,conc2,conc3,response,conc_unit1,conc_unit2,\
conc_unit3
1,Piperaquine,Pyronaridine,Darunavir,0.6,75,0,3.079183,uM,nM,uM
1,Piperaquine,Pyronaridine,Darunavir,0.6,75,2.5,97.5,uM,nM,uM
"""


def read(content, declared):
    reader = TableReader(io.BytesIO(content), declared)
    chunks = list(reader.chunks())
    rows = [row for chunk in chunks for row in chunk.rows]
    assert sum(chunk.problem_count for chunk in chunks) == reader.problems.total
    return reader, rows


def real(path):
    file = DATA / path
    if not file.exists():
        pytest.skip(f"NEXTROUND_DATA has no {path}")
    content = file.read_bytes()
    return gzip.decompress(content) if path.endswith(".gz") else content


def test_oneil_shape():
    reader, rows = read(ONEIL_SHAPE, Declaration("inhibition", "percent"))
    assert reader.problems.total == 0
    assert [row.row for row in rows] == [2, 3, 4]
    assert rows[0].components == ()
    assert rows[0].raw_value == -6.26e-4
    assert rows[0].viability == pytest.approx(1.00000626, abs=1e-15)
    assert rows[1].components == (("Niraparib", 0.223),)
    assert dict(rows[2].components) == pytest.approx({"MK-1775": 3.25e-5, "Niraparib": 0.223})
    assert {row.block for row in rows} == {"1"}


def test_ncats_shape_needs_a_declared_cell_line():
    declared = Declaration("viability", "percent", cell_line="3D7")
    reader, rows = read(NCATS_SHAPE, declared)
    assert reader.problems.total == 0
    assert rows[0].cell_line == "3D7"
    assert rows[0].components == (("Piperaquine", 0.6), ("Pyronaridine", 0.075))
    assert rows[1].components[0] == ("Darunavir", 2.5)
    assert rows[1].viability == 0.975


@pytest.mark.data
def test_oneil_table_has_replicates_without_a_column():
    content = real(f"{WEB}/ONEILTable.csv")
    reader, rows = read(content, Declaration("inhibition", "percent"))
    assert (len(rows), reader.problems.total) == (50, 150)
    assert reader.problems.first[0].message == (
        "row 27 repeats row 2 (vehicle control on OCUBM); add a replicate column, or declare "
        "repeats='replicates' if these are replicates"
    )
    reader, rows = read(content, Declaration("inhibition", "percent", repeats="replicates"))
    assert (len(rows), reader.problems.total) == (200, 0)
    assert {row.replicate for row in rows} == {"1", "2", "3", "4"}
    assert rows[-1].components == (("L-778123 free base", 5.0), ("Paclitaxel", 0.04))
    assert rows[-1].viability == pytest.approx(1 - 0.04034619826, abs=1e-15)


@pytest.mark.data
def test_oneil_table_declared_as_viability_is_caught_by_its_controls():
    content = real(f"{WEB}/ONEILTable.csv")
    reader, _ = read(content, Declaration("viability", "percent", repeats="replicates"))
    assert reader.problems.total == 8
    assert {problem.code for problem in reader.problems.first} == {"vehicle_contradicts_scale"}


@pytest.mark.data
def test_ncats_table_of_three_drugs():
    content = real(f"{WEB}/NCATSTable.csv")
    reader, rows = read(content, Declaration("viability", "percent", cell_line="3D7"))
    assert (len(rows), reader.problems.total) == (2400, 0)
    assert {len(row.components) for row in rows} == {0, 1, 2, 3}
    reader, _ = read(content, Declaration("inhibition", "percent", cell_line="3D7"))
    assert reader.problems.first[0].row == 101
    assert "99.2881" in reader.problems.first[0].message


@pytest.mark.data
def test_oneil_combinations_of_our_own_tidy_file():
    content = b"".join(real("oneil/combinations.csv.gz").splitlines(keepends=True)[:10_001])
    reader, rows = read(content, Declaration(unit="fraction"))
    assert (len(rows), reader.problems.total) == (10_000, 0)
    assert rows[0].components == (("5-FU", 0.35), ("ABT-888", 0.35))
    assert rows[0].viability == rows[0].raw_value == 0.9835


@pytest.mark.data
def test_oneil_single_agents_repeat_their_replicate_numbers():
    content = b"".join(real("oneil/single_agents.csv.gz").splitlines(keepends=True)[:5_001])
    reader, _ = read(content, Declaration(unit="fraction"))
    assert {problem.code for problem in reader.problems.first} == {"duplicate_row"}
    reader, rows = read(content, Declaration(unit="fraction", repeats="replicates"))
    assert (len(rows), reader.problems.total) == (5_000, 0)
    assert any(row.replicate == "0 (2)" for row in rows)
