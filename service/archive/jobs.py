"""The jobs of this room. The API imports this module too."""

from __future__ import annotations

from typing import Any

from service.kit.jobs import JobContext, handler

EXPORT, IMPORT = "export_archive", "import_archive"


@handler(EXPORT, queue="cpu")
def export_archive(ctx: JobContext) -> dict[str, Any]:
    """Everything of a campaign as one file."""
    from service.archive.exporting import export

    return export(ctx)


@handler(IMPORT, queue="cpu")
def import_archive(ctx: JobContext) -> dict[str, Any]:
    """A campaign out of such a file, whole or not at all."""
    from service.archive.importing import bring_in

    return bring_in(ctx)
