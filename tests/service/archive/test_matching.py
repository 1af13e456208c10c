"""Which rows of an archive are here already, and what contradicts."""

import pytest

from service.archive.matching import match_cell_lines, match_compounds, match_field_maps
from tests.service.archive.world import bring_in, export, rows_of, small_world
from tests.service.learning.bench import COMPOUNDS

KEY, OTHER = "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "BDERNNFJNOPAEC-UHFFFAOYSA-N"


class Here:
    """A workspace by hand."""

    def __init__(self, compounds=None, aliases=None, lines=None, features=None):
        self._found = (compounds or {}, aliases or {}, lines or {}, features or {})

    def compounds(self):
        return self._found[0]

    def aliases(self):
        return self._found[1]

    def cell_lines(self):
        return self._found[2]

    def features(self):
        return self._found[3]


def compound(identifier="cmp_1", name="B", inchikey=KEY, fingerprint=b"1"):
    return {"id": identifier, "name": name, "inchikey": inchikey, "fingerprint": fingerprint}


def alias(compound_id, folded):
    return {"compound_id": compound_id, "folded": folded}


class TestCompounds:
    def test_by_structure_under_another_name(self):
        here = Here({"cmp_9": ("Ethanol", KEY, b"1")}, {"ethanol": "cmp_9"})
        found = match_compounds([compound()], [alias("cmp_1", "b")], here)
        assert found.known == {"cmp_1": "cmp_9"}
        assert found.contradictions == []

    def test_by_name_without_a_structure(self):
        here = Here({"cmp_9": ("B", None, None)}, {"b": "cmp_9"})
        row = compound(inchikey=None, fingerprint=None)
        found = match_compounds([row], [alias("cmp_1", "b")], here)
        assert (found.known, found.contradictions) == ({"cmp_1": "cmp_9"}, [])

    def test_not_at_all(self):
        found = match_compounds([compound()], [alias("cmp_1", "b")], Here())
        assert (found.known, found.contradictions) == ({}, [])

    @pytest.mark.parametrize("here", [OTHER, None])
    def test_one_name_for_two_structures(self, here):
        there = Here({"cmp_9": ("B", here, b"2")}, {"b": "cmp_9"})
        (words,) = match_compounds([compound()], [alias("cmp_1", "b")], there).contradictions
        assert words == (
            f"Compound 'B' has the structure {KEY} in the archive and {here or '(none)'} here"
        )

    def test_a_structure_here_and_only_a_name_there(self):
        here = Here({"cmp_9": ("B", KEY, b"1")}, {"b": "cmp_9"})
        row = compound(inchikey=None, fingerprint=None)
        (words,) = match_compounds([row], [alias("cmp_1", "b")], here).contradictions
        assert "(none) in the archive" in words

    def test_a_name_that_leads_elsewhere(self):
        here = Here(
            {"cmp_8": ("Other", OTHER, b"2"), "cmp_9": ("B", KEY, b"1")},
            {"b": "cmp_9", "trade name": "cmp_8"},
        )
        names = [alias("cmp_1", "b"), alias("cmp_1", "trade name")]
        (words,) = match_compounds([compound()], names, here).contradictions
        assert "one of its names leads to 'Other'" in words

    def test_another_fingerprint(self):
        here = Here({"cmp_9": ("B", KEY, b"2")}, {"b": "cmp_9"})
        (words,) = match_compounds([compound()], [alias("cmp_1", "b")], here).contradictions
        assert "another fingerprint" in words

    def test_two_that_are_one_here(self):
        here = Here({"cmp_9": ("B", None, None)}, {"b": "cmp_9", "b2": "cmp_9"})
        rows = [
            compound(i, n, inchikey=None, fingerprint=None)
            for i, n in (("cmp_1", "B"), ("cmp_2", "B2"))
        ]
        names = [alias("cmp_1", "b"), alias("cmp_2", "b2")]
        (words,) = match_compounds(rows, names, here).contradictions
        assert words == "Compounds 'B' and 'B2' are one and the same here"


class TestCellLines:
    LINE = {"id": "cel_1", "folded": "x", "cellosaurus_id": None}  # noqa: RUF012

    def test_by_name(self):
        here = Here(lines={"x": ("cel_9", "X", None)}, features={"cel_9": "abc"})
        brought = [{"cell_line_id": "cel_1", "sha256": "abc"}]
        found = match_cell_lines([self.LINE], brought, here)
        assert (found.known, found.contradictions) == ({"cel_1": "cel_9"}, [])

    @pytest.mark.parametrize("brought", [[], [{"cell_line_id": "cel_1", "sha256": "other"}]])
    def test_other_features(self, brought):
        here = Here(lines={"x": ("cel_9", "X", None)}, features={"cel_9": "abc"})
        (words,) = match_cell_lines([self.LINE], brought, here).contradictions
        assert words == "Cell line 'X' has other features here"

    def test_another_line_of_that_name(self):
        here = Here(lines={"x": ("cel_9", "X", "CVCL_0001")})
        (words,) = match_cell_lines([self.LINE], [], here).contradictions
        assert "CVCL_0001 here" in words


class TestFieldMaps:
    def row(self, identifier, version, definition):
        return {"id": identifier, "folded": "m", "version": version, "definition": definition}

    def test_word_for_word_the_same(self):
        found, versions = match_field_maps([self.row("a", 1, {})], [self.row("b", 3, {})])
        assert (found.known, versions) == ({"a": "b"}, {})

    def test_a_number_that_is_taken_becomes_the_next(self):
        brought = [self.row("a", 1, {"n": 1}), self.row("b", 2, {"n": 2})]
        here = [self.row("c", 1, {"n": 3}), self.row("d", 2, {"n": 4})]
        assert match_field_maps(brought, here)[1] == {"a": 3, "b": 4}

    def test_a_number_that_is_free_stays(self):
        assert match_field_maps([self.row("a", 1, {})], [])[1] == {}


def test_into_a_workspace_that_knows_the_compounds_by_its_own_ids(lab, elsewhere):
    """Other ids in another order: every treatment is spelled anew, and means the same."""
    campaign = small_world(lab)
    there = elsewhere("sqlite")
    smiles = {"A": "CC(=O)Oc1ccccc1C(=O)O", "B": "CCO"}
    known = [{"name": name, "smiles": smiles.get(name)} for name in reversed(COMPOUNDS)]
    there.ok(there.post("/v1/compounds", {"compounds": known}))
    brought = bring_in(there, export(lab, campaign["id"]))
    assert brought["status"] == "succeeded", brought["problem"]
    assert brought["campaign_id"] == campaign["id"]

    def by_name(at):
        names = {row["id"]: row["name"] for row in at.every("/v1/compounds")}
        return {
            (well["row"], well["submission_id"], well["version"]): (
                sorted((names[d["compound"]], d["dose_um"]) for d in well["doses"]),
                well["viability"],
            )
            for well in at.wells(campaign["id"], versions="all")
        }

    assert by_name(there) == by_name(lab)
    again = export(there, campaign["id"])
    for row in rows_of(again, "measurement"):
        ids = [row[f"compound_{x}_id"] for x in "abc" if row[f"compound_{x}_id"]]
        assert ids == sorted(ids)


def test_a_table_read_by_a_field_map_brings_the_map(lab, elsewhere):
    campaign = lab.campaign()
    columns = [("Line", "cell_line"), ("Drug", "compound_1"), ("uM", "dose_1_um"),
               ("Alive", "viability_fraction")]  # fmt: skip
    definition = {"columns": [{"column": c, "field": f} for c, f in columns]}
    lab.ok(lab.post("/v1/field-maps", {"name": "Theirs", "definition": definition}))
    csv = "Line,Drug,uM,Alive\nX,A,1,0.5\n"
    lab.ok(lab.submit(campaign["id"], csv, field_map="Theirs"))
    there = elsewhere("sqlite")
    assert bring_in(there, export(lab, campaign["id"]))["status"] == "succeeded"
    (found,) = there.every("/v1/field-maps")
    assert found["definition"]["columns"] == lab.every("/v1/field-maps")[0]["definition"]["columns"]
