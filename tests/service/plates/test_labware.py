"""The labware table there and back, and numbers that cannot be."""

import copy
import json
import math

import pytest

from service.plates.labware import (
    DEFAULT_LABWARE,
    Destination,
    Dispenser,
    Labware,
    SourceType,
    Stock,
    stock_from_dict,
    stock_to_dict,
)
from service.plates.problems import PlateError


def test_the_table_survives_json() -> None:
    assert Labware.from_dict(json.loads(json.dumps(DEFAULT_LABWARE.to_dict()))) == DEFAULT_LABWARE


def test_drops_of_the_echos() -> None:
    drops = {each.name: each.drop_nl for each in DEFAULT_LABWARE.dispensers}
    assert [drops[f"Echo {model}"] for model in (550, 555, 650, 525)] == [2.5, 2.5, 2.5, 25]


def test_a_lab_may_edit_the_table() -> None:
    plain = copy.deepcopy(DEFAULT_LABWARE.to_dict())
    plain["destinations"] = [{"name": "mine", "wells": 96, "assay_nl": 2e5, "max_total_nl": 900}]
    assert Labware.from_dict(plain).destination("mine").room_nl == 900
    with pytest.raises(PlateError, match=r"no destination plate '384'.*'mine'"):
        Labware.from_dict(plain).destination("384")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("dispensers", 0, "drop_nl"), 0, "drop_nl is 0, expected more than 0"),
        (("dispensers", 0, "drop_nl"), "2.5", "expected a number"),
        (("dispensers", 0, "max_transfer_nl"), 1, "cannot give one drop"),
        (("dispensers", 0, "name"), " ", "needs a name"),
        (("dispensers", 0, "name"), "Echo 555", "names dispensers twice: Echo 555"),
        (("dispensers", 0, "colour"), "red", "has no colour"),
        (("source_types", 0, "dead_volume_nl"), -1, "expected 0 or more"),
        (("source_types", 0, "dead_volume_nl"), 70_000, "leaves nothing"),
        (("destinations", 0, "wells"), 100, "no plate of 100 wells"),
        (("destinations", 0, "vehicle_limit"), 1, "0.005 for 0.5 %"),
        (("destinations", 0, "assay_nl"), math.nan, "expected a number"),
        (("destinations", 0, "assay_nl"), True, "expected a number"),
    ],
)
def test_what_cannot_be_is_refused(path, value, words) -> None:
    plain = json.loads(json.dumps(DEFAULT_LABWARE.to_dict()))
    kind, index, name = path
    plain[kind][index][name] = value
    with pytest.raises(PlateError, match=words):
        Labware.from_dict(plain)


def test_missing_parts_are_named() -> None:
    with pytest.raises(PlateError, match="look at destinations"):
        Labware.from_dict({"dispensers": [], "source_types": []})
    with pytest.raises(PlateError, match=r"a dispenser needs .*max_transfer_nl"):
        Labware.from_dict({"dispensers": [{"name": "x"}], "source_types": [], "destinations": []})


def test_whole_drops() -> None:
    echo = Dispenser("Echo", 2.5, 500)
    assert echo.drops(7.5) == 3
    assert echo.whole(7.4999) == 5
    assert echo.whole(7.5) == 7.5
    with pytest.raises(PlateError, match=r"7 nL is no whole number of drops of 2.5 nL"):
        echo.drops(7)
    fine = Dispenser("D300", 0.011, 500)
    assert all(fine.drops(fine.volume(n)) == n for n in range(2000))


def test_room_under_both_limits() -> None:
    plate = Destination("x", 384, 50_000, 500, 0.005)
    assert plate.room_nl == pytest.approx(50_000 * 0.005 / 0.995)
    assert plate.fraction(plate.room_nl) == pytest.approx(0.005)
    assert Destination("x", 384, 50_000, 100, 0.005).room_nl == 100


def test_stocks_there_and_back() -> None:
    stock = Stock("Cisplatin", 10, 50_000, "SRC1", "384PP_DMSO2", (1, 2))
    assert stock_to_dict(stock)["well"] == "B3"
    assert stock_from_dict(stock_to_dict(stock)) == stock
    cassette = Stock("Cisplatin", 10, 50_000)
    assert stock_from_dict(stock_to_dict(cassette)) == cassette
    with pytest.raises(PlateError, match="has no colour"):
        stock_from_dict({"compound": "x", "mm": 1, "volume_nl": 1, "colour": 1})
    with pytest.raises(PlateError, match="needs a compound"):
        stock_from_dict({"compound": "x"})
    with pytest.raises(PlateError, match="plate, plate type and well, or none"):
        Stock("x", 1, 1, "SRC1")


def test_what_can_be_taken_out() -> None:
    table = Labware((), (SourceType("LDV", 384, 12_000, 2_500),), ())
    assert table.usable_nl(Stock("x", 1, 10_000, "S", "LDV", (0, 0))) == 7_500
    assert table.usable_nl(Stock("x", 1, 1_000, "S", "LDV", (0, 0))) == 0
    assert table.usable_nl(Stock("x", 1, 1_000)) == 1_000
    with pytest.raises(PlateError, match=r"well A1 of S is said to hold 13000 nL.*12000"):
        table.usable_nl(Stock("x", 1, 13_000, "S", "LDV", (0, 0)))
    with pytest.raises(PlateError, match="no well AF1"):
        table.usable_nl(Stock("x", 1, 3_000, "S", "LDV", (31, 0)))
