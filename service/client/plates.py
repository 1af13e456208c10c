"""The lab's side of the API: stocks and doses, plates out, reader files in, their quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.client.calls import Calls, Json
from service.client.http import Upload

_ANY_FILE = "application/octet-stream"
_CSV = "text/csv"


class PlateCalls(Calls):
    """Methods named after their operations, as all of the client."""

    # What lies ready, and doses that can be made of it.

    def get_labware(self) -> Json:
        return self._get("get_labware")

    def edit_labware(self, labware: Mapping[str, Any], version: int) -> Json:
        """Replace the ``version`` that you read; 0 is the table that comes with the service."""
        return self._change("edit_labware", labware, version)

    def get_stocks(self) -> Json:
        return self._get("get_stocks")

    def edit_stocks(self, stocks: Sequence[Mapping[str, Any]], version: int) -> Json:
        """All stocks, one entry a source well; ``version`` 0 where none was ever given."""
        return self._change("edit_stocks", {"stocks": list(stocks)}, version)

    def get_dispensing(self, campaign_id: str) -> Json:
        return self._get("get_dispensing", campaign_id=campaign_id)

    def snap_doses_of_campaign(
        self, campaign_id: str, dispensing: Mapping[str, Any], version: int
    ) -> Json:
        """Make every dose one that can be dispensed; ``version`` is that of the campaign."""
        return self._change("snap_doses_of_campaign", dispensing, version, campaign_id=campaign_id)

    # Plates out.

    def lay_out_batch(
        self, batch_id: str, layout: Mapping[str, Any] | None = None, dry_run: bool = False
    ) -> Json:
        """Put a batch on plates; ``dry_run``: count plates and volumes, name conflicts."""
        query = {"dry_run": dry_run or None}
        return self._post("lay_out_batch", query=query, body=dict(layout or {}), batch_id=batch_id)

    def get_layout(self, batch_id: str) -> Json:
        return self._get("get_layout", batch_id=batch_id)

    def cancel_layout(self, batch_id: str, reason: str) -> Json:
        return self._post("cancel_layout", body={"reason": reason}, batch_id=batch_id)

    def get_pick_list(self, batch_id: str, format: str = "echo") -> bytes:
        """Every transfer: ``echo`` in nL, ``worklist`` for tip-based robots."""
        return self._http.content("get_pick_list", {"batch_id": batch_id}, {"format": format})

    def get_d300_protocol(self, batch_id: str) -> bytes:
        return self._http.content("get_d300_protocol", {"batch_id": batch_id})

    def get_batch_plate_maps(self, batch_id: str) -> bytes:
        """A line a well, as the plates are now."""
        return self._http.content("get_batch_plate_maps", {"batch_id": batch_id})

    def submit_transfer_report(
        self, batch_id: str, file: Path | bytes, filename: str | None = None
    ) -> Json:
        """What an Echo really dispensed. The same bytes twice change nothing."""
        content, name = _file(file, filename)
        found: Json = self._http.call(
            "submit_transfer_report",
            {"batch_id": batch_id},
            query={"filename": name},
            upload=Upload(content, _CSV),
        )
        return found

    def submit_plates(self, campaign_id: str, table: Path | bytes) -> Json:
        """Plates that were laid out elsewhere: CSV, a line a well."""
        content, _ = _file(table, None)
        path, upload = {"campaign_id": campaign_id}, Upload(content, _CSV)
        found: Json = self._http.call("submit_plates", path, upload=upload)
        return found

    def list_plates(
        self, campaign: str | None = None, batch: str | None = None, barcode: str | None = None
    ) -> Iterator[Json]:
        query = {"campaign": campaign, "batch": batch, "barcode": barcode}
        return self._http.every("list_plates", query=query)

    def get_plate(self, plate_id: str) -> Json:
        """What is in its wells now."""
        return self._get("get_plate", plate_id=plate_id)

    # Files in.

    def upload_file(
        self,
        campaign_id: str,
        file: Path | bytes,
        *,
        filename: str | None = None,
        format: str | None = None,
        barcode: str | None = None,
        label: str | None = None,
        rule: str | None = None,
        decimal: str | None = None,
        quantity: str | None = None,
        unit: str | None = None,
        cell_line: str | None = None,
        repeats: str | None = None,
        confirm_scale: bool = False,
        accept_flags: bool = False,
        commit: str = "no",
    ) -> Json:
        """A reader's file or a table as it is; ``commit`` ``auto``: at once, where nothing is
        open. What stands in the way is in ``open`` of the answer."""
        content, name = _file(file, filename)
        query = {
            "filename": name, "format": format, "barcode": barcode, "label": label, "rule": rule,
            "decimal": decimal, "quantity": quantity, "unit": unit, "cell_line": cell_line,
            "repeats": repeats, "confirm_scale": confirm_scale or None,
            "accept_flags": accept_flags or None, "commit": commit,
        }  # fmt: skip
        found: Json = self._http.call(
            "upload_file",
            {"campaign_id": campaign_id},
            query=query,
            upload=Upload(content, _ANY_FILE),
        )
        return found

    def list_uploads(self, campaign: str | None = None, state: str | None = None) -> Iterator[Json]:
        return self._http.every("list_uploads", query={"campaign": campaign, "state": state})

    def get_upload(self, upload_id: str) -> Json:
        return self._get("get_upload", upload_id=upload_id)

    def commit_upload(
        self, upload_id: str, asked: Mapping[str, Any] | None = None, dry_run: bool = False
    ) -> Json:
        """Take it into the campaign; what is left out stays as it was said with the file."""
        query = {"dry_run": dry_run or None}
        body = dict(asked or {})
        return self._post("commit_upload", query=query, body=body, upload_id=upload_id)

    # Quality.

    def get_plate_quality(self, plate_id: str) -> Json:
        """Every verdict on a plate, its flags, and what was read of it."""
        return self._get("get_plate_quality", plate_id=plate_id)

    def get_plate_readings(self, plate_id: str) -> bytes:
        """Every reading as the instrument gave it, as CSV."""
        return self._http.content("get_plate_readings", {"plate_id": plate_id})

    def flag_wells(
        self, plate_id: str, reason: str, wells: Sequence[str] | None = None
    ) -> list[Json]:
        """These wells must not be counted; without ``wells`` the whole plate."""
        body: Json = {"reason": reason}
        if wells is not None:
            body["wells"] = list(wells)
        found: list[Json] = self._http.call("flag_wells", {"plate_id": plate_id}, body=body)
        return found

    def lift_flag(self, flag_id: str, reason: str) -> Json:
        return self._post("lift_flag", body={"reason": reason}, flag_id=flag_id)

    def normalise_plate(self, plate_id: str, rule: str) -> Json:
        """Derive its viabilities anew from the kept readings."""
        return self._post("normalise_plate", body={"rule": rule}, plate_id=plate_id)

    def get_quality_limits(self) -> Json:
        return self._get("get_quality_limits")

    def edit_quality_limits(self, limits: Mapping[str, Any], version: int) -> Json:
        """Replace them; ``version`` 0 where they are the defaults."""
        return self._change("edit_quality_limits", limits, version)


def _file(file: Path | bytes, name: str | None) -> tuple[bytes, str | None]:
    """The bytes of a file and what it is called."""
    if isinstance(file, bytes):
        return file, name
    return file.read_bytes(), name or file.name
