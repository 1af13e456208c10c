"""A report laid over the plan: failures exclude, actual volumes correct, strangers are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.plates.echo_report import EchoReport, ReportedTransfer
from service.plates.layout_rules import LayoutRules
from service.plates.plate_map import Role
from service.plates.problems import PlateError
from service.plates.reconcile import apply_report
from service.plates.transfers import TransferPlan
from tests.service.plates.bench import block, plan


@pytest.fixture(scope="module")
def made() -> TransferPlan:
    return plan(block(replicates=2), rules=LayoutRules(blank=2))


def lines(plan: TransferPlan) -> list[ReportedTransfer]:
    """What a perfect machine would report."""
    return [
        ReportedTransfer(
            number,
            each.source_plate,
            each.source_type,
            each.source_well,
            each.destination,
            each.destination_well,
            each.compound,
            each.volume_nl,
            each.volume_nl,
            50.0,
            None,
            "",
            False,
            "",
        )
        for number, each in enumerate(plan.transfers, start=1)
    ]


def report(transfers, run="1") -> EchoReport:
    return EchoReport({"Run ID": run}, tuple(transfers))


def sample(plan: TransferPlan):
    """A sample well of the first plate and the places of its compound lines in the report."""
    plate = plan.plates[0]
    well = next(each for each in plate.of(Role.SAMPLE) if each.vehicle_nl > 0)
    indices = [
        index
        for index, each in enumerate(plan.transfers)
        if (each.destination, each.destination_well) == (plate.barcode, well.at)
    ]
    compound = next(i for i in indices if plan.transfers[i].compound != "DMSO")
    vehicle = next(i for i in indices if plan.transfers[i].compound == "DMSO")
    return plate, well, compound, vehicle


def test_a_perfect_run_changes_nothing(made: TransferPlan) -> None:
    applied = apply_report(made, report(lines(made)))
    assert applied.plates == made.plates
    assert applied.notes == ()


def test_a_failed_transfer_excludes_its_well_only(made: TransferPlan) -> None:
    plate, well, index, _ = sample(made)
    found = lines(made)
    found[index] = replace(found[index], actual_nl=0.0, status="MM0202001: too low")
    applied = apply_report(made, report(found))
    bad = [each for each in applied.plates[0].wells if each.excluded]
    assert [each.at for each in bad] == [well.at]
    lost = made.transfers[index]
    words = f"{lost.compound} ({lost.stock_mm:g} mM) was not dispensed: MM0202001: too low"
    assert bad[0].excluded == words
    assert [(n.barcode, n.well, n.excluded, n.text) for n in applied.notes] == [
        (plate.barcode, well.name, True, words)
    ]
    there = {each.compound: each.real_um for each in bad[0].contents}
    assert there[lost.compound] == 0
    assert all(um > 0 for name, um in there.items() if name != lost.compound)
    assert applied.plates[1] == made.plates[1]


def test_failed_vehicle_excludes_too(made: TransferPlan) -> None:
    _, well, _, vehicle = sample(made)
    found = lines(made)
    found[vehicle] = replace(found[vehicle], actual_nl=0.0)
    after = apply_report(made, report(found)).plates[0].at(well.at)
    assert after.excluded == (
        f"DMSO was not dispensed: 0 of {made.transfers[vehicle].volume_nl:g} nL dispensed"
    )
    assert after.vehicle_nl == 0


def test_actual_volumes_correct_the_doses(made: TransferPlan) -> None:
    _, well, index, _ = sample(made)
    found = lines(made)
    planned = made.transfers[index]
    found[index] = replace(found[index], actual_nl=planned.volume_nl / 2)
    applied = apply_report(made, report(found))
    after = applied.plates[0].at(well.at)
    assert after.excluded is None
    total = after.compound_nl + after.vehicle_nl
    assert total == well.compound_nl + well.vehicle_nl - planned.volume_nl / 2
    for each in after.contents:
        before = next(c for c in well.contents if c.compound == each.compound)
        assert each.nominal_um == before.nominal_um
        assert each.real_um == pytest.approx(
            each.stock_mm * 1000 * each.volume_nl / (50_000 + total)
        )
        if each.compound != planned.compound:
            assert each.real_um > before.real_um  # less liquid dilutes the other less
    (note,) = applied.notes
    assert not note.excluded
    assert f"{planned.volume_nl / 2:g} of {planned.volume_nl:g} nL" in note.text


def test_a_repeated_transfer_heals_a_failure(made: TransferPlan) -> None:
    _, _, index, _ = sample(made)
    found = lines(made)
    again = found[index]
    found[index] = replace(again, actual_nl=0.0, status="MM1")
    applied = apply_report(made, report(found), report([again], "2"))
    assert applied.plates == made.plates


def test_a_transfer_that_no_report_has_excludes(made: TransferPlan) -> None:
    _, well, index, _ = sample(made)
    found = lines(made)
    del found[index]
    after = apply_report(made, report(found)).plates[0].at(well.at)
    assert "no report has the transfer" in (after.excluded or "")


def test_a_plate_that_no_report_mentions_stays(made: TransferPlan) -> None:
    first = made.plates[0].barcode
    found = [each for each in lines(made) if each.destination == first]
    assert apply_report(made, report(found)).plates == made.plates


def test_applying_twice_is_the_same_as_once(made: TransferPlan) -> None:
    _, _, index, _ = sample(made)
    found = lines(made)
    found[index] = replace(found[index], actual_nl=0.0)
    assert apply_report(made, report(found)) == apply_report(made, report(found))
    with pytest.raises(PlateError, match="same run was reported twice"):
        apply_report(made, report(found), report(found))


def test_an_exclusion_that_was_there_stays(made: TransferPlan) -> None:
    plate, well, index, _ = sample(made)
    marked = plate.changed([replace(well, excluded="bubble")])
    before = replace(made, plates=(marked, *made.plates[1:]))
    found = lines(made)
    found[index] = replace(found[index], actual_nl=0.0, status="MM1")
    after = apply_report(before, report(found)).plates[0].at(well.at)
    assert (after.excluded or "").startswith("bubble; ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"destination": "OTHER"}, "line 1: destination plate 'OTHER' is none of this batch"),
        ({"source_well": (15, 23)}, "was to get nothing from well P24 of SRC1"),
        ({"sample": "Taxol"}, "got 'Taxol', but .* was planned"),
        ({"source_plate": "S9"}, "was to get nothing from well .* of S9"),
    ],
)
def test_strangers_are_refused(made: TransferPlan, changes, words: str) -> None:
    first = replace(lines(made)[0], **changes)
    with pytest.raises(PlateError, match=words):
        apply_report(made, report([first]))


def test_a_well_that_should_be_empty_is_refused(made: TransferPlan) -> None:
    blank = made.plates[0].of(Role.BLANK)[0]
    line = replace(lines(made)[0], destination=made.plates[0].barcode, destination_well=blank.at)
    with pytest.raises(PlateError, match=f"nothing was to go into well {blank.name} of"):
        apply_report(made, report([line]))
