"""One directory for names and ids, and what was probably meant."""

import pytest

from service.kit.names import NameDirectory, duplicates, shorten

ROWS = [
    ("vincristine", "Vincristine", "cmp_1"),
    ("oncovin", "Oncovin", "cmp_1"),
    ("vinblastine", "Vinblastine", "cmp_2"),
    ("=1+1", "=1+1", "cmp_3"),
]


@pytest.fixture
def directory():
    return NameDirectory("compound", ROWS)


@pytest.mark.parametrize(
    ("reference", "identifier"),
    [
        ("Vincristine", "cmp_1"),
        ("  VINCRISTINE ", "cmp_1"),
        ("oncovin", "cmp_1"),
        ("cmp_2", "cmp_2"),
        ("=1+1", "cmp_3"),
        ("'=1+1", "cmp_3"),
        ("'vincristine", None),
        ("CMP_2", None),
        ("Vincristin", None),
        ("", None),
    ],
)
def test_who_is_meant(directory, reference, identifier):
    assert directory.resolve(reference) == identifier
    assert directory.resolve(reference) == identifier


def test_an_id_wins_over_a_name_that_looks_like_it():
    directory = NameDirectory("compound", [("cmp_2", "cmp_2", "cmp_1"), ("b", "B", "cmp_2")])
    assert directory.resolve("cmp_2") == "cmp_2"


def test_an_unknown_name_is_told_with_its_neighbours_and_the_fix(directory):
    message = directory.unknown("Vincristin", "Register it.")
    assert "no compound 'Vincristin' in this workspace" in message
    assert message.index("'Vincristine'") < message.index("'Vinblastine'")
    assert message.endswith("Register it.")


def test_nothing_near_is_not_guessed(directory):
    assert "Did you mean" not in directory.unknown("Aspirin", "Register it.")


def test_a_long_name_is_cut(directory):
    message = directory.unknown("x" * 5000, "Register it.")
    assert len(message) < 200
    assert "…" in message


def test_shorten():
    assert shorten("x" * 60) == "x" * 60
    assert shorten("x" * 61) == "x" * 59 + "…"


def test_duplicates():
    assert duplicates(["a", "b", "a", "c", "b", "a"]) == {"a", "b"}
    assert duplicates([]) == set()
