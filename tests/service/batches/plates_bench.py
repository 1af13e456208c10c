"""A lab with stocks, and a batch that waits to be put on plates."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from service.batches.documents import NUMBERS
from service.batches.tables import Recommendation
from service.kit.database import dump_json
from service.kit.ids import new_id
from service.plates.placing import fraction
from tests.lab import Lab
from tests.service.learning.bench import COMPOUNDS, open_campaign

LEVELS = (10.0, 0.5)
BLOCKS = (("A", "B", "X"), ("A", "C", "X"), ("B", "D", "X"))
SIZE = {"destination": "384-well 50 uL", "dispenser": "Echo 650"}


def stock(compound: str, mm: float, well: str, **more: Any) -> dict[str, Any]:
    """One source well."""
    placed = {"plate": "SRC1", "plate_type": "384PP_DMSO2", "well": well}
    return {"compound": compound, "mm": mm, "volume_nl": 60_000.0, **placed, **more}


def cassettes(volume_nl: float) -> list[dict[str, Any]]:
    """Every compound at 10 mM, in no source plate."""
    return [{"compound": name, "mm": 10.0, "volume_nl": volume_nl} for name in COMPOUNDS]


def stocks(levels: Sequence[float] = LEVELS) -> list[dict[str, Any]]:
    """Every compound at all levels, and vehicle."""
    found = [
        stock(name, mm, f"{'ABCDEFGHIJ'[row]}{place}")
        for row, name in enumerate(COMPOUNDS)
        for place, mm in enumerate(levels, start=1)
    ]
    return found + [stock("DMSO", 0.0, f"P{place}") for place in (1, 2, 3)]


def put(lab: Lab, path: str, body: Any, version: int | str = "*") -> Any:
    """PUT with the ETag of ``version``; returns the response."""
    mark = version if version == "*" else f'"{version}"'
    return lab.request("PUT", path, json=body, headers={"If-Match": str(mark)})


def give_stocks(lab: Lab, listed: Sequence[Mapping[str, Any]] | None = None) -> None:
    """The stocks of the workspace, all at once."""
    lab.ok(put(lab, "/v1/stocks", {"stocks": stocks() if listed is None else list(listed)}))


def a_batch(
    lab: Lab,
    blocks: Sequence[tuple[str, str, str]] = BLOCKS,
    limits: Mapping[str, Any] | None = None,
    plates: Sequence[int] | None = None,
    dispensing: Mapping[str, Any] | None = None,
    opened: dict[str, Any] | None = None,
    **campaign: Any,
) -> dict[str, Any]:
    """A batch of these blocks, recommended by hand: what a model believes is no matter here.

    ``limits``: how a block is measured; ``plates``: where the recommendation put each;
    ``dispensing``: by what the campaign's doses are snapped before; ``opened``: the campaign, when
    there is one.
    """
    opened = open_campaign(lab, **campaign) if opened is None else opened
    if dispensing is not None:
        give_stocks(lab)
        lab.ok(put(lab, f"/v1/campaigns/{opened['id']}/dispensing", dict(dispensing)))
        opened = lab.ok(lab.get(f"/v1/campaigns/{opened['id']}"))
    compounds = {row["name"]: row for row in opened["compounds"]}
    lines = {row["name"]: row for row in opened["cell_lines"]}
    candidates = [
        {
            **dict.fromkeys(NUMBERS, 0.5),
            "rank": rank,
            "in_batch": True,
            "batch_position": rank,
            "plate": None if plates is None else plates[rank - 1],
            "compounds": [compounds[a], compounds[b]],
            "cell_line": lines[line],
            "nearest_measured": None,
            "reason": "written by hand",
        }
        for rank, (a, b, line) in enumerate(blocks, start=1)
    ]
    listed = lab.parts.artifacts.put(dump_json(candidates).encode(), "json")
    rules = {"batch_size": len(blocks), "max_per_compound": None, "lab": limits and dict(limits)}
    row = Recommendation(
        id=new_id("rec"), workspace_id=lab.workspace_id, campaign_id=opened["id"],
        job_id=new_id("job"), model_id=None, round=1, rules=rules, seed=1, n_pool=20,
        n_ranked=len(blocks), n_batch=len(blocks), reason="written by hand", timings={},
        candidates=listed, table_artifact=listed,
    )  # fmt: skip
    with lab.parts.database.writing() as session:
        session.add(row)
    path = f"/v1/campaigns/{opened['id']}/batches"
    batch: dict[str, Any] = lab.ok(lab.post(path, {"recommendation_id": row.id}))
    return batch


def lay_out(lab: Lab, batch: Mapping[str, Any], dry_run: bool = False, **body: Any) -> Any:
    """Ask for plates; returns the response."""
    params = {"dry_run": "true"} if dry_run else {}
    asked = {**SIZE, "seed": 7, **body}
    return lab.post(f"/v1/batches/{batch['id']}/plates", asked, params=params)


def text(lab: Lab, path: str, **params: Any) -> str:
    """A file that must be there."""
    response = lab.get(path, params=params)
    assert response.status_code == 200, response.text
    return str(response.text)


def table(content: str) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its columns."""
    return list(csv.DictReader(io.StringIO(content, newline="")))


def model_echo(pick_list: str, seed: int, run: str = "42") -> bytes:
    """A report of an Echo of which 5 % of transfers fail and 5 % stop half-way."""
    rows = table(pick_list)
    sections: dict[str, list[list[str]]] = {"[EXCEPTIONS]": [], "[DETAILS]": []}
    for number, row in enumerate(rows):
        luck, asked = fraction(seed, number), float(row["Transfer Volume"])
        actual = 0.0 if luck < 0.05 else 2.5 * (asked // 5) if luck < 0.1 else asked
        status = "" if actual == asked else "MM0202001: fluid height below minimum"
        section = "[EXCEPTIONS]" if actual == 0 else "[DETAILS]"
        sections[section].append([*row.values(), f"{actual:g}", status])
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["Run ID", run], []])
    for name, lines in sections.items():
        header = [*rows[0], "Actual Volume", "Transfer Status"]
        writer.writerows([[name], header, *lines, []])
    return out.getvalue().encode()


def report(lab: Lab, batch: Mapping[str, Any], content: bytes, **params: Any) -> Any:
    """Send a report of the dispenser; returns the response."""
    return lab.request(
        "POST",
        f"/v1/batches/{batch['id']}/transfer-reports",
        content=content,
        params=params,
        headers={"Content-Type": "text/csv"},
    )
