"""POST /v1/batches/{id}/transfer-reports: what was really dispensed comes back to the maps."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from typing import Any

import pytest

from tests.lab import Lab, codes
from tests.service.batches.plates_bench import (
    a_batch,
    give_stocks,
    lay_out,
    model_echo,
    report,
    table,
    text,
)


@pytest.fixture
def batch(lab: Lab) -> dict[str, Any]:
    made = a_batch(lab)
    give_stocks(lab)
    lab.ok(lay_out(lab, made, replicates=2))
    return made


def pick_list(lab: Lab, batch: dict[str, Any]) -> str:
    return text(lab, f"/v1/batches/{batch['id']}/picklist")


def by_well(lab: Lab, batch: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(barcode, well) -> the well as it is now."""
    return {
        (plate["barcode"], well["well"]): well
        for plate in lab.every("/v1/plates", batch=batch["id"])
        for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]
    }


def test_failed_transfers_exclude_wells_and_volumes_correct_doses(
    lab: Lab, batch: dict[str, Any]
) -> None:
    before = by_well(lab, batch)
    content = model_echo(pick_list(lab, batch), seed=3)
    response = report(lab, batch, content, filename="run 42.csv")
    assert response.status_code == 201
    answer = lab.ok(response)
    kept = answer["report"]
    assert (kept["file_name"], kept["run"]) == ("run 42.csv", "42")
    assert kept["sha256"] == hashlib.sha256(content).hexdigest()
    there: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in _details(content):
        at = (row["Destination Plate Barcode"], row["Destination Well"])
        volumes = there[at]
        actual = float(row["Actual Volume"])
        volumes[row["Sample ID"]] = volumes.get(row["Sample ID"], 0.0) + actual
    changed = {(well["barcode"], well["well"]): well for well in answer["changed"]}
    after = by_well(lab, batch)
    assert set(after) == set(before)
    for at, well in after.items():
        volumes = {each["compound"]: each["volume_nl"] for each in well["contents"]}
        volumes |= {"DMSO": well["vehicle_nl"]} if "DMSO" in there[at] else {}
        assert volumes == there[at]
        assert (well["excluded"] is not None) == (0.0 in there[at].values())
        assert (well == before[at]) == (at not in changed)
        for each in well["contents"]:
            real = each["stock_mm"] * 1000 * each["volume_nl"] / (50_000 + sum(volumes.values()))
            assert each["real_um"] == pytest.approx(real)
    excluded = [well for well in after.values() if well["excluded"]]
    assert 0 < len(excluded) == answer["n_excluded"]
    assert len([well for well in changed.values() if well["excluded"]]) == len(excluded)
    reasons = " ".join(well["excluded"] for well in excluded)
    assert "was not dispensed: MM0202001: fluid height below minimum" in reasons
    assert "cmp_" not in reasons
    plates = lab.every("/v1/plates", batch=batch["id"])
    assert sum(plate["n_excluded"] for plate in plates) == len(excluded)
    assert {plate["version"] for plate in plates} == {2}
    rows = table(text(lab, f"/v1/batches/{batch['id']}/plates.csv"))
    assert [row["excluded"] for row in rows if row["excluded"]] == [
        well["excluded"] for well in excluded
    ] or len([row for row in rows if row["excluded"]]) == len(excluded)


def _details(content: bytes) -> list[dict[str, str]]:
    lines = content.decode().replace("\r\n", "\n").split("\n")
    header = next(line for line in lines if line.startswith("Source Plate Name"))
    body = [line for line in lines if line.count(",") == header.count(",") and line != header]
    return list(csv.DictReader(io.StringIO("\n".join([header, *body]))))


def test_the_same_bytes_change_nothing(lab: Lab, batch: dict[str, Any]) -> None:
    content = model_echo(pick_list(lab, batch), seed=3)
    first = lab.ok(report(lab, batch, content))
    with lab.untouched():
        again = report(lab, batch, content, filename="another name.csv")
        assert again.status_code == 200
    assert lab.ok(again) == {**first, "outcome": "existing"}
    layout = lab.ok(lab.get(f"/v1/batches/{batch['id']}/plates"))
    assert layout["reports"] == [first["report"]]
    path = f"/v1/batches/{batch['id']}/transfer-reports/{first['report']['id']}/original"
    assert lab.get(path).content == content


def test_reports_of_several_runs_count_together(lab: Lab, batch: dict[str, Any]) -> None:
    """Each alone leaves wells without a transfer; together, in either order, they are whole."""
    lines = pick_list(lab, batch).splitlines()
    halves = [[lines[0], *lines[1:][part::2]] for part in (0, 1)]
    before = by_well(lab, batch)
    contents = [
        _faithful("\r\n".join(half) + "\r\n", run) for run, half in zip("12", halves, strict=True)
    ]
    first = lab.ok(report(lab, batch, contents[0]))
    assert first["n_excluded"] > 0
    assert "no report has the transfer" in first["changed"][0]["text"]
    second = lab.ok(report(lab, batch, contents[1]))
    assert second["n_excluded"] == 0
    assert {well["text"] for well in second["changed"]} == {""}
    assert by_well(lab, batch) == before


def _faithful(pick_list: str, run: str) -> bytes:
    """The report of an Echo that never fails."""
    rows = table(pick_list)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["Run ID", run], [], ["[DETAILS]"]])
    writer.writerow([*rows[0], "Actual Volume", "Transfer Status"])
    writer.writerows([*row.values(), row["Transfer Volume"], ""] for row in rows)
    return out.getvalue().encode()


class TestRefusals:
    def test_files_that_are_no_report_of_this_batch(
        self, lab: Lab, batch: dict[str, Any], subtests: Any
    ) -> None:
        good = _faithful(pick_list(lab, batch), "1").decode()
        barcode = lab.every("/v1/plates", batch=batch["id"])[0]["barcode"]
        source = table(pick_list(lab, batch))[0]["Source Well"]
        for name, content, words in [
            ("a pick list", pick_list(lab, batch), "This is no Echo transfer report"),
            ("another batch", good.replace(barcode, "ELSEWHERE"), "is none of this batch"),
            ("another source", good.replace(f"384PP_DMSO2,{source},", "384PP_DMSO2,H24,"),
             "was to get nothing from well H24"),
            ("cut off", good[: len(good) // 2], "cut off"),
            ("nothing", "", "This is no Echo transfer report"),
        ]:  # fmt: skip
            with subtests.test(name), lab.untouched():
                problem = lab.refused(report(lab, batch, content.encode()), 422)
                assert codes(problem) == [("report", None)]
                assert words in problem["detail"]
                assert (problem["errors"][0]["row"] is None) == ("Line" not in problem["detail"])

    def test_a_run_that_was_reported_before(self, lab: Lab, batch: dict[str, Any]) -> None:
        content = _faithful(pick_list(lab, batch), "1")
        lab.ok(report(lab, batch, content))
        with lab.untouched():
            problem = lab.refused(report(lab, batch, content + b"\r\n"), 422)
        assert "the same run was reported twice" in problem["detail"].lower()

    def test_a_report_without_plates(self, lab: Lab) -> None:
        made = a_batch(lab)
        with lab.untouched():
            lab.refused(report(lab, made, b"x"), 404)

    def test_it_must_be_text(self, lab: Lab, batch: dict[str, Any]) -> None:
        path = f"/v1/batches/{batch['id']}/transfer-reports"
        with lab.untouched():
            lab.refused(lab.post(path, {"a": 1}), 415)

    def test_of_another_batch_and_another_lab(
        self, lab: Lab, other_lab: Lab, batch: dict[str, Any]
    ) -> None:
        content = _faithful(pick_list(lab, batch), "1")
        kept = lab.ok(report(lab, batch, content))["report"]
        other = a_batch(lab, name="Other")
        path = f"/v1/batches/{{}}/transfer-reports/{kept['id']}/original"
        lab.refused(lab.get(path.format(other["id"])), 404)
        other_lab.refused(other_lab.get(path.format(batch["id"])), 404)
        with lab.untouched():
            other_lab.refused(report(other_lab, batch, content), 404)


def test_artifacts_of_plates_outlive_tidying(lab: Lab, batch: dict[str, Any]) -> None:
    from service.retention import tidy

    content = model_echo(pick_list(lab, batch), seed=3)
    kept = lab.ok(report(lab, batch, content))["report"]
    before = pick_list(lab, batch)
    tidy(lab.parts, unreferenced_s=-1.0)
    assert pick_list(lab, batch) == before
    path = f"/v1/batches/{batch['id']}/transfer-reports/{kept['id']}/original"
    assert lab.get(path).content == content
