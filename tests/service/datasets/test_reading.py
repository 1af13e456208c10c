"""Files of responses and time courses to tables, or to a line, a reason and a fix."""

import numpy as np
import pytest
from scipy import sparse

from service.assays.files_in.problems import FileError
from service.assays.files_in.sources import open_source
from service.datasets.reading.anndata_file import Asked, Kept, read_anndata
from service.datasets.reading.courses_table import read_courses
from service.datasets.reading.reading import read
from service.datasets.reading.responses_table import read_responses
from service.datasets.storage import artifacts_of, load_courses, load_responses, store
from service.kit.artifacts import ArtifactStore

RESPONSES = """condition,treatment,batch,ERK,AKT
c,DMSO,p1,0,0.1
m,MEKi 1.5 uM,p1,-0.8,
m+h,HDACi 6 uM + MEKi 1.5 uM,p2,-1.1,0.4
"""
LONG = """well,plate,cell_line,treatment,time_h,OD,YFP
A1,p1,PC9,DMSO,0,0.10,5
A1,p1,PC9,DMSO,3,0.20,6
A2,p1,PC9,Osimertinib 1 uM,3,0.11,
A2,p1,PC9,Osimertinib 1 uM,0,0.10,5
"""
WIDE = """Content,Colony,Well Col,Well Row,Content,Raw Data (OD) 1 - 0 h,Raw Data (OD) 2,YFP,YFP
,,,,,0,1,0,1
dev1,,1,A,C6=25000,0.1,0.2,10,20
dev2,,2,A,,0.3,0.4,30,40
"""


def responses(text, kind="log_ratio"):
    return read_responses(open_source("r.csv", text.encode()), kind)


def courses(text, name="c.csv"):
    return read_courses(open_source(name, text.encode()))


class TestResponses:
    def test_a_table(self):
        found = responses(RESPONSES)
        table = found.table
        assert table.perturbations == ("HDACi", "MEKi")
        assert table.doses.tolist() == [[0, 0], [0, 1.5], [6, 1.5]]
        assert table.readouts == ("ERK", "AKT")
        assert table.conditions == ("c", "m", "m+h")
        assert table.batch == ("p1", "p1", "p2")
        assert np.array_equal(table.values, [[0, 0.1], [-0.8, np.nan], [-1.1, 0.4]], equal_nan=True)
        assert found.units == ("uM", "uM")
        assert found.notes == ("1 of 6 values are missing",)

    def test_order_of_rows_and_columns_says_nothing(self):
        head, *rows = RESPONSES.strip().split("\n")
        flipped = [",".join(line.split(",")[::-1]) for line in (head, *rows[::-1])]
        one, other = (
            responses(RESPONSES).table.sorted(),
            responses("\n".join(flipped)).table.sorted(),
        )
        assert other.readouts == one.readouts[::-1]
        assert np.array_equal(other.values[:, ::-1], one.values, equal_nan=True)
        assert np.array_equal(other.doses, one.doses)

    def test_decimal_commas(self):
        text = "treatment;ERK\nDMSO;0,25\nMEKi 1 uM;-1,5\n"
        assert responses(text).table.values[:, 0].tolist() == [0.25, -1.5]

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("treatment", "agent", "no column 'treatment'"),
            ("-0.8", "low", "line 3.*'low' is no number.*a number belongs under 'ERK'"),
            ("ERK,AKT", "ERK,ERK", "two columns are called 'ERK'"),
            ("MEKi 1.5 uM,p1", "MEKi 1.5 kg,p1", "line 3.*no molar unit"),
            ("m+h,", "m,", "other doses in row 2 than in row 1"),
            (",p2,", ",,", "line 4.*names no batch"),
        ],
    )
    def test_what_it_refuses(self, old, new, says):
        with pytest.raises(FileError, match=says):
            responses(RESPONSES.replace(old, new, 1))

    def test_counts_are_whole(self):
        with pytest.raises(FileError, match="count of 'ERK' in condition 'm'"):
            responses(RESPONSES.replace("0.1\n", "1\n").replace("0.4", "4"), "counts")

    def test_nothing_but_controls(self):
        with pytest.raises(FileError, match="all are controls"):
            responses("treatment,ERK\nDMSO,1\n")


class TestCourses:
    def test_a_long_table(self):
        found = courses(LONG)
        assert [(c.name, c.cell_line, c.plate, c.doses) for c in found.courses] == [
            ("A1", "PC9", "p1", (0.0,)),
            ("A2", "PC9", "p1", (1.0,)),
        ]
        assert found.channels == ("OD", "YFP")
        assert found.series.tolist() == [0, 0, 1, 1]
        assert found.time_h.tolist() == [0, 3, 0, 3]
        expected = [[0.1, 5], [0.2, 6], [0.1, 5], [0.11, np.nan]]
        assert np.array_equal(found.values, expected, equal_nan=True)

    def test_a_wide_table(self):
        found = courses(WIDE, "plate7.csv")
        assert [(c.name, c.cell_line, c.plate, c.doses) for c in found.courses] == [
            ("A1", "dev1", "plate7", (25000.0,)),
            ("A2", "dev2", "plate7", (0.0,)),
        ]
        assert found.channels == ("OD", "YFP")
        assert found.values.tolist() == [[0.1, 10], [0.2, 20], [0.3, 30], [0.4, 40]]

    def test_a_cycle_that_was_read_twice_is_averaged_and_said(self):
        found = courses(WIDE.replace(",,,,,0,1,0,1", ",,,,,0,0,0,1"), "p.csv")
        assert found.values.tolist()[0] == pytest.approx([0.15, 10])
        assert "at 0 h were averaged" in found.notes[-1]

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            ("A1,p1,PC9,DMSO,3", "A1,p1,PC9,DMSO,0", "line 3.*two readings at 0 h"),
            ("A1,p1,PC9,DMSO,3", "A1,p1,A549,DMSO,3", "line 3.*another treatment or cell line"),
            ("DMSO,3", "DMSO,-3", "line 3"),
            ("time_h", "when", "no column of the time"),
            (",OD,YFP", ",OD,OD", "two columns are called 'OD'"),
        ],
    )
    def test_what_it_refuses(self, old, new, says):
        with pytest.raises(FileError, match=says):
            courses(LONG.replace(old, new, 1))


@pytest.fixture
def cells(tmp_path):
    """Write an ``.h5ad`` of these counts and say where it is."""
    import anndata
    import pandas

    def write(counts, treatments, genes, column="perturbation"):
        obs = pandas.DataFrame(
            {column: treatments}, index=[f"c{i}" for i in range(len(treatments))]
        )
        data = anndata.AnnData(counts, obs=obs, var=pandas.DataFrame(index=genes))
        path = tmp_path / "cells.h5ad"
        data.write_h5ad(path)
        return path

    return write


class TestAnnData:
    @pytest.mark.parametrize("matrix", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
    def test_dense_and_sparse(self, cells, matrix):
        counts = np.arange(12, dtype=np.float32).reshape(4, 3)
        path = cells(matrix(counts), ["ctrl", "A", "B", "A+B"], ["A", "g1", "g2"])
        found = read_anndata(path, "counts", Asked(joined_by="+"))
        assert found.table.perturbations == ("A", "B")
        assert found.table.doses.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
        assert np.array_equal(found.table.values, counts)
        assert found.library.tolist() == counts.sum(axis=1).tolist()

    def test_a_long_file_is_thinned_evenly_and_said(self, cells):
        generator = np.random.default_rng(0)
        counts = generator.poisson(1.0, (600, 40)).astype(np.float32)
        counts[:, 7] = generator.poisson(50.0, 600)
        counts[:, 9] *= np.arange(600) % 20 == 0
        treatments = ["ctrl"] * 400 + ["A"] * 150 + ["g3"] * 50
        path = cells(counts, treatments, [f"g{i}" for i in range(40)])
        found = read_anndata(path, "counts", Asked(), Kept(rows=90, genes=10, seed=1))
        names = list(found.table.conditions)
        assert {name: names.count(name) for name in set(names)} == {
            "control": 30,
            "A 1": 30,
            "g3 1": 30,
        }
        assert "g3" in found.table.readouts  # perturbed, though it varies little
        assert len(found.table.readouts) == 10
        assert [note[:4] for note in found.notes] == ["kept", "kept"]
        assert found.library.min() > found.table.values.sum(axis=1).min()
        again = read_anndata(path, "counts", Asked(), Kept(rows=90, genes=10, seed=1))
        assert np.array_equal(again.table.values, found.table.values)

    def test_what_it_refuses(self, cells, tmp_path):
        path = cells(np.full((2, 1), 0.5, np.float32), ["ctrl", "A"], ["g"])
        with pytest.raises(FileError, match="count of 'g'"):
            read_anndata(path, "counts", Asked())
        with pytest.raises(FileError, match="no column 'guide'; there are: perturbation"):
            read_anndata(path, "log_ratio", Asked(treatment="guide"))
        broken = tmp_path / "broken.h5ad"
        broken.write_bytes(path.read_bytes()[:900])
        with pytest.raises(FileError, match="anndata cannot read it"):
            read_anndata(broken, "log_ratio", Asked())


def test_stored_and_back(tmp_path):
    artifacts = ArtifactStore(str(tmp_path / "artifacts"))
    for found, load in ((responses(RESPONSES), load_responses), (courses(LONG), load_courses)):
        name = store(found, artifacts)
        assert store(found, artifacts) == name
        assert all(artifacts.exists(each) for each in artifacts_of(name, artifacts))
        back = load(name, artifacts)
        assert store(back, artifacts) == name


def test_an_error_of_the_reader_is_a_file_error(tmp_path, monkeypatch):
    from service.datasets.reading import reading

    def broken(*_):
        raise ZeroDivisionError("no")

    monkeypatch.setattr(reading, "open_source", broken)
    path = tmp_path / "x.csv"
    path.write_text("a")
    with pytest.raises(FileError, match="the reader failed"):
        read(path, "x.csv", {"holds": "responses", "kind": "log_ratio"})
