"""``nextround triage``: a scorecard of a measured screen in a folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.evaluation.oneil import load_oneil_layout
from models.evaluation.study import fingerprints_of
from models.objectives.scores import measure_blocks
from models.pharmacology.dose_response import fit_curves
from models.screen import ScreenError, Stopped
from models.triage.attributes import describe_compounds
from models.triage.describing import CardNames, describe_card
from models.triage.features import SingleAgents, describe_blocks
from models.triage.making import make_scorecard
from models.triage.printing import card_text
from service.learning.terminal import STOPPED, stop_on_signal, write_report
from service.triage.printable import card_page


@dataclass(frozen=True)
class TriageOptions:
    """What the command line asked for. ``json_out``, ``html_out``: where the card goes."""

    data: Path
    score: str
    threshold: float
    seed: int
    json_out: Path
    html_out: Path | None = None


def triage_screen(options: TriageOptions) -> int:
    """Make, print, write; the exit code: 0, 2 for a wrong request or nothing to learn from, 130
    if it was stopped."""
    try:
        with stop_on_signal() as stop:
            found = _make(options, lambda: stop.asked)
    except Stopped:
        print("Stopped; nothing was written.", file=sys.stderr)
        return STOPPED
    except (ScreenError, OSError) as error:
        print(f"nextround: {error}", file=sys.stderr)
        return 2
    write_report(options.json_out, found)
    print(card_text(found["card"], found["report"]), end="")
    if options.html_out is not None:
        hit = f"{options.score} above {options.threshold:g}"
        page = card_page(found["card"], found["report"], options.data.name, hit)
        options.html_out.write_text(page)
        print(f"The page to print is {options.html_out}.")
    return 0


def _make(options: TriageOptions, should_stop: Any) -> dict[str, Any]:
    folder = load_oneil_layout(options.data)
    screen = folder.screen(None, fingerprints_of(folder))
    curves = fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))
    blocks = measure_blocks(screen, options.score, curves)
    attributes = describe_compounds(screen.compounds)
    single = SingleAgents.of_screen(screen.wells, curves)
    made = make_scorecard(
        describe_blocks(blocks.candidates, attributes, single),
        blocks.score > options.threshold,
        seed=options.seed,
        should_stop=should_stop,
    )
    names = CardNames.of(folder.compound_names, folder.cell_line_names, attributes)
    return {
        "score": options.score,
        "hit_threshold": options.threshold,
        "seed": options.seed,
        "report": made.report,
        "card": describe_card(made.card, names),
    }
