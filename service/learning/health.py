"""What a fit said of its own health: names put in by the worker, sentences by whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NOT_KNOWN = "This model is older than the comparison: train another."


def with_names(
    evidence: Mapping[str, Any],
    compounds: Sequence[str],
    lines: Sequence[str],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """The evidence of a fit with ids and names of contradicting blocks, instead of positions."""
    health = evidence.get("health")
    if health is None:
        return dict(evidence)

    def named(block: Mapping[str, Any]) -> dict[str, Any]:
        ids, line = [compounds[at] for at in block["compounds"]], lines[block["cell_line"]]
        return {
            **block,
            "compounds": ids,
            "compound_names": [names[one] for one in ids],
            "cell_line": line,
            "cell_line_name": names[line],
        }

    again = health["measure_again"]
    pairs = [
        {**pair, "suspect": named(pair["suspect"]), "other": named(pair["other"])}
        for pair in again["pairs"]
    ]
    return {**evidence, "health": {**health, "measure_again": {**again, "pairs": pairs}}}


def warnings_of(evidence: Mapping[str, Any]) -> list[str]:
    """What whoever answers for the campaign should be told of a fit."""
    return list((evidence.get("health") or {}).get("warnings", ()))


def describe_again(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Experiments to measure again, each with the reason in a sentence, and how it was decided."""
    health = evidence.get("health")
    if health is None:
        return {"tested": 0, "flagged": 0, "items": [], "words": _NOT_KNOWN}
    again = health["measure_again"]
    items = [{**pair, "words": _sentence(pair)} for pair in again["pairs"]]
    return {
        "tested": again["tested"],
        "flagged": again["flagged"],
        "items": items,
        "words": _summary(again),
    }


def _summary(again: Mapping[str, Any]) -> str:
    if not again["tested"]:
        return "No two measured blocks have inputs so near that they could contradict each other."
    head = f"{again['tested']} pairs of blocks with nearly the same inputs were compared"
    spread = again["error_spread"]
    wider = "" if spread <= 1 else f", standard errors taken {spread:.1f} times as large as stated"
    if not again["flagged"]:
        return f"{head}{wider}: none contradict each other."
    return (
        f"{head}{wider}: {again['flagged']} contradict each other (false discovery rate 10 %). "
        f"One of each two is wrong, or what sets them apart is not among the inputs."
    )


def _sentence(pair: Mapping[str, Any]) -> str:
    suspect, other = pair["suspect"], pair["other"]
    return (
        f"Measure {_called(suspect)} again: it scored {_measured(suspect)}, while "
        f"{_called(other)}, nearly the same experiment, scored {_measured(other)} "
        f"({pair['z']:.1f} standard errors apart, q = {pair['q']:.2g}; the model expects "
        f"{suspect['expected']:.1f} and {other['expected']:.1f})."
    )


def _called(block: Mapping[str, Any]) -> str:
    return f"{' + '.join(block['compound_names'])} in {block['cell_line_name']}"


def _measured(block: Mapping[str, Any]) -> str:
    return f"{block['score']:.1f} +- {block['standard_error']:.1f}"
