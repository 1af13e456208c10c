"""One file out of a watched folder: which request it is, and what the answer means.

Told by what is in the file, never by its name:

* a transfer report of an Echo goes to the batch whose plates it names;
* a table with a column of compounds, any table where a field map is said, and JSON with
  ``measurements`` are submissions;
* everything else is a reader's file, or a table of another program, and goes to the importer.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.client.api import CONTENT_TYPES, Nextround
from service.client.folder_rules import FolderError, FolderRules

HEAD = 16 * 2**10
"""So many bytes tell what a file is."""
_SECTION = re.compile(r'^"?\[(DETAILS|EXCEPTIONS)\]', re.M)
_COMPOUND = re.compile(r"(compound|drug)_?(row|col|[123])?$")
_DESTINATION = "Destination Plate Barcode"
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Sent:
    """What the service made of a file. ``receipt``: what is kept beside it."""

    verdict: str
    """``stored``, ``existing`` or ``waiting``."""
    detail: str
    receipt: dict[str, Any] = field(default_factory=dict)


class OpenQuestions(FolderError):
    """The service has the file and did not take it in: ``problem`` says what is open, and where."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        super().__init__(str(problem["detail"]))


def is_transfer_report(content: bytes) -> bool:
    """Whether these are the bytes of an Echo's report."""
    head = _text(content[:HEAD])
    return _SECTION.search(head) is not None and _DESTINATION in head


def send(lab: Nextround, campaign_id: str, name: str, content: bytes, rules: FolderRules) -> Sent:
    """Send one file: the only place that knows how files become measurements."""
    suffix = Path(name).suffix.lower()
    if rules.read_as == "table" or (rules.read_as is None and _is_submission(content, rules)):
        return _submit(lab, campaign_id, suffix, content, rules.submitted)
    upload = lab.upload_file(
        campaign_id, content, filename=name[-_LONGEST_NAME:], commit="auto", **rules.imported
    )
    return _of_upload(upload)


def send_report(lab: Nextround, name: str, content: bytes) -> Sent:
    """Send a transfer report to the batch that issued the plates which it names."""
    batch_id = _batch_of(lab, content)
    applied = lab.submit_transfer_report(batch_id, content, name[-_LONGEST_NAME:])
    report = applied["report"]
    receipt = {
        "transfer_report": report["id"],
        "batch": batch_id,
        "transfers": report["n_transfers"],
        "failed": report["n_failed"],
    }
    detail = f"{report['id']}, {report['n_failed']} of {report['n_transfers']} transfers failed"
    return Sent(str(applied["outcome"]), detail, receipt)


def _is_submission(content: bytes, rules: FolderRules) -> bool:
    head = _text(content[:HEAD]).lstrip()
    if head.startswith(("{", "[")):
        return re.search(r'"measurements"\s*:', head) is not None
    if rules.submitted.get("field_map"):
        return True
    first = head.partition("\n")[0]
    cells = re.split(r"[,;\t]", first)
    return any(_COMPOUND.match(re.sub(r"[\s\"]+", "", cell).lower()) for cell in cells)


def _submit(
    lab: Nextround, campaign_id: str, suffix: str, content: bytes, said: Mapping[str, Any]
) -> Sent:
    if suffix not in CONTENT_TYPES:
        known = ", ".join(CONTENT_TYPES)
        named = suffix or "without an ending"
        raise FolderError(f"tables of wells in files named {named} are not read; use {known}")
    content_type = CONTENT_TYPES[suffix]
    options = {} if suffix == ".json" else dict(said)  # JSON declares its scale itself
    terms = json.dumps([campaign_id, content_type, options], sort_keys=True).encode()
    key = hashlib.sha256(terms + hashlib.sha256(content).digest()).hexdigest()
    made = lab.submit_file(
        campaign_id, content, content_type=content_type, idempotency_key=key, **options
    )
    receipt = {
        "submission": made["id"],
        "campaign": made["campaign_id"],
        "measurements": made["n_measurements"],
    }
    return Sent(
        str(made["outcome"]), f"{made['id']}, {made['n_measurements']} measurements", receipt
    )


def _of_upload(upload: Mapping[str, Any]) -> Sent:
    """Taken in, still with a worker, or with something open. Raises :class:`OpenQuestions`."""
    if upload["state"] == "queued":
        return Sent("waiting", f"{upload['id']} is being read by a worker")
    if upload["state"] != "committed":
        raise OpenQuestions(_open_in(upload))
    preview = upload["preview"]
    plates = [plate for plate in preview["plates"] if not plate["skip"]]
    verdicts = {str(plate["barcode"]): plate["verdict"] for plate in plates}
    receipt = {
        "upload": upload["id"],
        "submission": upload["submission_id"],
        "campaign": upload["campaign_id"],
        "format": upload["format"],
        "verdicts": verdicts,
    }
    told = [f"{barcode} {verdict}" for barcode, verdict in verdicts.items()]
    what = ", ".join(told) or {"layout": "plate maps"}.get(str(preview["kind"]), "a table")
    return Sent(str(upload["outcome"]), f"{upload['id']}, {what}", receipt)


def _open_in(upload: Mapping[str, Any]) -> dict[str, Any]:
    """As a problem of the service is written."""
    errors = [dict(note) for note in upload["preview"]["problems"] if note["blocking"]]
    for plate in upload["preview"]["plates"]:
        if not plate["skip"]:
            where = {"plate": plate["barcode"], "verdict": plate["verdict"]}
            errors += [{**note, **where} for note in plate["problems"] if note["blocking"]]
    first = (upload["open"] or ["It was not taken in."])[0]
    return {
        "title": "Something is open",
        "detail": f"{first} The file is kept as {upload['id']}; settle it there, with "
        f"POST /v1/uploads/{upload['id']}/commit.",
        "upload": upload["id"],
        "state": upload["state"],
        "link": f"/v1/uploads/{upload['id']}",
        "errors": errors,
        "error_count": len(errors),
    }


def _batch_of(lab: Nextround, content: bytes) -> str:
    """The batch of the plates in a report. Raises :class:`FolderError` where it is not one."""
    batches = set()
    barcodes = _destinations(content)
    for barcode in barcodes:
        plate = next(lab.list_plates(barcode=barcode), None)
        if plate is None:
            raise FolderError(f"there is no plate {barcode!r}, which this transfer report names")
        if plate["batch_id"] is None:
            raise FolderError(f"plate {barcode!r} of this transfer report was not issued here")
        batches.add(str(plate["batch_id"]))
    if len(batches) != 1:
        listed = ", ".join(sorted(batches)) or "none"
        raise FolderError(
            f"this transfer report is of {len(batches)} batches ({listed}); a report is taken by "
            "one batch: split it"
        )
    return batches.pop()


def _destinations(content: bytes) -> list[str]:
    """The destination plates of a report, each once, in the order of the file."""
    found: dict[str, None] = {}
    place: int | None = None
    for cells in csv.reader(io.StringIO(_text(content), newline="")):
        texts = [cell.strip() for cell in cells]
        if _DESTINATION in texts:
            place = texts.index(_DESTINATION)
        elif not any(texts) or texts[0].startswith("["):
            place = None
        elif place is not None and place < len(texts) and texts[place]:
            found[texts[place].lstrip("'")] = None
    return list(found)


def _text(content: bytes) -> str:
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    return content.decode("utf-16" if wide else "utf-8-sig", errors="replace")
