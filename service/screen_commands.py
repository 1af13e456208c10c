"""Commands on a measured screen in a folder that need no service; the work is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def triage(
    data: Annotated[Path, typer.Option(help="Folder of a measured screen.")],
    json_out: Annotated[Path, typer.Option("--json", help="Where the card goes.")],
    html: Annotated[Path | None, typer.Option(help="A page to print.")] = None,
    score: Annotated[
        str, typer.Option(help="A score such as bliss_mean, hsa_max, zip_mean.")
    ] = "bliss_mean",
    threshold: Annotated[float, typer.Option(help="A hit scores above this.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, max=10**6, help="Of folds and intervals.")] = 0,
) -> None:
    """Make a scorecard of a measured screen: points that tell hits from others."""
    from service.triage.folder import TriageOptions, triage_screen

    raise typer.Exit(triage_screen(TriageOptions(data, score, threshold, seed, json_out, html)))


def add_commands(app: typer.Typer) -> None:
    """Put them into the command line."""
    app.command()(triage)
