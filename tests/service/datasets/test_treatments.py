"""What a sample was treated with, out of one cell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.assays.files_in.problems import FileError
from service.datasets.reading.treatments import CONTROLS, Part, Perturbations, read_treatment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("DMSO", ()),
        ("C6=25000;Ara=5", (Part("Ara", 5.0, "own"), Part("C6", 25000.0, "own"))),
        ("OSI-906 10 uM + PIM447 2.5 uM", (Part("OSI-906", 10.0, "uM"), Part("PIM447", 2.5, "uM"))),
        ("Trametinib=100 nM", (Part("Trametinib", 0.1, "uM"),)),
        ("Trametinib 0.1 µM + vehicle", (Part("Trametinib", 0.1, "uM"),)),
        ("KLF1", (Part("KLF1", 1.0, "level"),)),
        ("A=0;B=2", (Part("B", 2.0, "own"),)),
        ("A 0 uM", ()),
        ("X=1e-3 mM", (Part("X", 1.0, "uM"),)),
    ],
)
def test_known_spellings(text, expected):
    assert read_treatment(text) == expected


def test_another_joint():
    assert read_treatment("KLF1+GATA1", "+") == (
        Part("GATA1", 1.0, "level"),
        Part("KLF1", 1.0, "level"),
    )
    assert read_treatment("KLF1+ctrl", "+") == (Part("KLF1", 1.0, "level"),)
    assert read_treatment("Ca2+") == (Part("Ca2+", 1.0, "level"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A=x", "no number after"),
        ("A 1 kg", "no molar unit"),
        ("A=1;a=2", "twice"),
        (";".join(f"g{i}" for i in range(30)), "30 perturbations at once"),
        ("A\u200b=1", "invisible character"),
    ],
)
def test_what_it_refuses(text, says):
    with pytest.raises(ValueError, match=says):
        read_treatment(text)


names = st.sampled_from(["Imatinib", "OSI-906", "BYL 719", "5-FU"])
parts = st.dictionaries(names, st.floats(1e-3, 1e3), max_size=4)


@given(parts, st.randoms())
def test_order_of_the_parts_says_nothing(doses, random):
    pieces = [f"{name} {dose!r} uM" for name, dose in doses.items()]
    shuffled = random.sample(pieces, len(pieces))
    assert read_treatment(" + ".join(pieces)) == read_treatment(" + ".join(shuffled))
    assert {part.name: part.dose for part in read_treatment(" + ".join(pieces))} == doses


def test_one_perturbation_has_one_unit():
    with pytest.raises(FileError, match="give all of them a unit, or none"):
        Perturbations.of([read_treatment("A 1 uM"), read_treatment("A=1")])
    both = Perturbations.of([read_treatment("b=1"), read_treatment("A 1 uM;B=2")])
    assert both == Perturbations(("A", "b"), ("uM", "own"))


@pytest.mark.parametrize("word", sorted(CONTROLS))
def test_words_of_controls(word):
    assert read_treatment(word.upper()) == ()
