"""Missing wells of a screen: labelled, judged before they are drawn, and better than Bliss."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from models.screen import ScreenError
from models.surfaces.sampler.filling import Filled, fill_in
from models.surfaces.sampler.references import AroundBliss
from tests.models.surfaces.sampler.small import NOISE, SMALL, blocks, some_missing

ASKED = some_missing(blocks(6, seed=11), share=0.4)


@cache
def filled() -> Filled:
    return fill_in([blocks(150)], NOISE, ASKED, draws=30, seed=2, options=SMALL)


def test_the_answer_is_labelled_and_says_which_wells_are_missing() -> None:
    said = json.loads(json.dumps(filled().report()))
    assert said["synthetic"] is True
    assert said["draws"] == 30
    for row, block in enumerate(said["blocks"]):
        assert block["compounds"] == ASKED.compounds[row].tolist()
        assert block["n_measured"] == int(ASKED.measured[row].sum())
        assert block["n_missing"] == sum(well["missing"] for well in block["wells"])
        assert len(block["wells"]) == 9 == block["n_measured"] + block["n_missing"]
        for well in block["wells"]:
            i = int(np.flatnonzero(ASKED.doses[0][row] == well["doses_um"][0])[0])
            j = int(np.flatnonzero(ASKED.doses[1][row] == well["doses_um"][1])[0])
            assert ASKED.measured[row, i, j] != well["missing"]
            assert well["low"] < well["mean"] < well["high"]
            assert len(well["replicates"]) == 30


def test_it_says_how_good_it_is_on_pairs_that_it_did_not_see() -> None:
    found = filled()
    assert found.gain is not None
    assert found.trusted
    assert "nats a held-out block" in found.words()
    assert found.report()["trusted"] is True


def test_where_there_is_nothing_but_noise_it_is_not_trusted() -> None:
    table = blocks(150, seed=3)
    read = AroundBliss(0.05, 0.0, 100.0).readings(table, 1, 0)[0]
    found = fill_in(
        [replace(table, viability=read)],
        NOISE,
        ASKED,
        draws=4,
        seed=0,
        options=replace(SMALL, steps=20),
    )
    assert not found.trusted
    assert found.words().startswith("no better than Bliss")


def test_with_few_pairs_nobody_knows() -> None:
    short = replace(SMALL, steps=3)
    found = fill_in([blocks(22)], NOISE, ASKED, draws=2, seed=0, options=short)
    assert found.gain is None
    assert not found.trusted
    assert "nobody knows" in found.words()


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(ScreenError, match="draws"):
        fill_in([blocks(30)], NOISE, ASKED, draws=0, seed=0)
    nothing = ASKED.seen_only(np.zeros(ASKED.viability.shape, bool))
    with pytest.raises(ScreenError, match="nothing to be filled in from"):
        fill_in([blocks(30)], NOISE, nothing, draws=2, seed=0)
