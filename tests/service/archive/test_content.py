"""Every table is either in an archive, or left out for a reason."""

import re

import migrations.metadata  # noqa: F401 - maps every table
from service.archive.content import BY_NAME, LEFT_OUT, PARTS
from service.archive.renaming import Renamer, ids_in, in_order
from service.archive.repository import ContentRepository
from service.archive.rows import described
from service.kit.auth.principal import Principal
from service.kit.database import Base
from service.kit.ids import new_id
from tests.service.archive.world import export, full_world, rows_of

_ARTIFACT = re.compile(r"[0-9a-f]{64}\.[a-z]+")


def test_every_table_is_in_an_archive_or_has_a_reason():
    """A new table of a campaign that nobody thought of would be lost: this test thinks of it."""
    assert set(Base.metadata.tables) == set(BY_NAME) | set(LEFT_OUT)
    assert not set(BY_NAME) & set(LEFT_OUT)
    assert all(len(reason) > 10 for reason in LEFT_OUT.values())


def test_what_belongs_to_a_campaign_is_not_left_out_lightly():
    """Tables with a campaign's id that are left out hold no results."""
    ours = {t.name for t in Base.metadata.sorted_tables if "campaign_id" in t.c}
    assert ours - set(BY_NAME) == {"job", "outbox_event", "archive"}


def test_every_column_has_a_documented_kind():
    for part in PARTS:
        assert "workspace_id" not in described(part.table)
        assert set(part.files) <= set(part.table.c.keys())
        assert part.column in part.table.c


def test_every_column_that_names_a_file_is_known(lab):
    """A forgotten one would be exported as a name without its file."""
    campaign = full_world(lab)
    content = export(lab, campaign["id"], weights=True)
    for part in PARTS:
        for row in rows_of(content, part.name):
            names = {k for k, v in row.items() if isinstance(v, str) and _ARTIFACT.fullmatch(v)}
            assert names <= set(part.files), part.name


def test_rows_of_another_workspace_are_not_seen(lab, other_lab):
    campaign = lab.campaign()
    stranger = Principal(other_lab.workspace_id, "somebody", frozenset())
    with lab.parts.database.reading() as session:
        content = ContentRepository(session, stranger)
        for part in PARTS:
            if part.named is None:
                assert list(content.rows(part, campaign["id"])) == [], part.name
            else:
                ids = {row["id"] for row in campaign["compounds"] + campaign["cell_lines"]}
                assert list(content.named_rows(part, ids)) == [], part.name


class TestRenaming:
    def test_without_a_reason_nothing_changes(self):
        text = f'{{"id": "{new_id("cam")}"}}'
        assert Renamer({}, None).text(text) == text

    def test_new_ids_sort_as_the_old_ones_did(self):
        old = [new_id("mea") for _ in range(200)]
        new = [Renamer({}, "salt").one(name) for name in old]
        assert new == sorted(new)
        assert not set(new) & set(old)
        assert all(len(name) == 30 for name in new)

    def test_they_follow_from_the_salt(self):
        name = new_id("mea")
        same, other = Renamer({}, "salt"), Renamer({}, "pepper")
        assert same.one(name) == Renamer({}, "salt").one(name) != other.one(name)

    def test_wherever_they_stand(self):
        a, b, key = new_id("cmp"), new_id("cmp"), new_id("key")
        renamer = Renamer({a: b}, None)
        assert renamer.text(f"{a}/x,{key},{a}x") == f"{b}/x,{key},{a}x"
        assert Renamer({}, "salt").one(key) == key
        assert ids_in(f"{a} {b} {key}", "cmp") == {a, b}

    def test_compounds_are_put_in_order_with_their_doses(self):
        row = {"compound_a_id": "c", "dose_a_um": 3.0, "compound_b_id": "a", "dose_b_um": 1.0,
               "compound_c_id": "b", "dose_c_um": 2.0}  # fmt: skip
        assert list(in_order(row).values()) == ["a", 1.0, "b", 2.0, "c", 3.0]
        item = {"compound_a_id": "b", "doses_a_um": [2.0], "compound_b_id": "a", "doses_b_um": [1]}
        assert list(in_order(item).values()) == ["a", [1], "b", [2.0]]
        single = {"compound_a_id": "b", "dose_a_um": 1.0, "compound_b_id": None, "dose_b_um": None}
        assert in_order(single) is single
