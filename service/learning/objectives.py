"""A campaign's goal: to the objective that models know, and back into words. Workers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.objectives.objective import Objective, objective_from_dict
from models.rounds import Aim, RankedCandidates, RoundRules


def objective_of(goal: Mapping[str, Any] | None, score: str) -> Objective | None:
    """The objective of frozen rules; nothing where they seek the ``score`` itself.

    Rules from before there were goals have none.
    """
    return None if goal is None else objective_from_dict(_spelled(goal, score))


def _spelled(goal: Mapping[str, Any], score: str) -> dict[str, Any]:
    """The entries of :func:`models.objectives.objective.objective_from_dict`."""
    kind = goal["kind"]
    if kind == "score":
        return {"kind": kind, "score": score}
    if kind == "selectivity":
        sides = {
            side: [(line["cell_line"], line["weight"]) for line in goal[side]]
            for side in ("kill", "spare")
        }
        return {"kind": kind, **sides, "of": _spelled(goal["of"], score)}
    if kind == "weighted_sum":
        terms = [(term["weight"], _spelled(term["objective"], score)) for term in goal["terms"]]
        return {"kind": kind, "terms": terms}
    if kind == "pareto":
        entries = goal["objectives"]
        return {
            "kind": kind,
            "objectives": [_spelled(entry["objective"], score) for entry in entries],
            "reference": [entry["reference"] for entry in entries],
        }
    return dict(goal)


def describe_aim(
    aim: Aim, rules: RoundRules, ranked: RankedCandidates, names: Mapping[str, str]
) -> dict[str, Any]:
    """The objective in words with what is known of it, cell lines by id and name; of a front the
    ranks of the batch that are on the front of the expected values."""
    said = aim.describe()
    on_front = ranked.on_mean_front
    return {
        **said,
        "description": named(said["description"], names),
        "parts": [
            {
                "description": named(part["description"], names),
                "weight": _number(part["weight"]),
                "cell_line": _line(part["cell_line"], names),
            }
            for part in said["parts"]
        ],
        "best": _number(said["best"]),
        "hit_threshold": rules.hit_threshold,
        "batch_on_front": (
            None if on_front is None else (1 + np.flatnonzero(on_front & ranked.in_batch)).tolist()
        ),
    }


def beside(ranked: RankedCandidates, row: int) -> dict[str, Any]:
    """What a ranked candidate carries beside its numbers: improvement, parts, place on a front."""
    chance, size = ranked.probability_of_improvement, ranked.expected_improvement
    return {
        "probability_of_improvement": None if chance is None else _number(chance[row]),
        "expected_improvement": None if size is None else _number(size[row]),
        "objective": _of_candidate(ranked, row),
    }


def named(text: str, names: Mapping[str, str]) -> str:
    """``text`` with names instead of ids."""
    for identifier, name in names.items():
        text = text.replace(identifier, name)
    return text


def _of_candidate(ranked: RankedCandidates, row: int) -> dict[str, Any] | None:
    if ranked.part_mean is None or ranked.part_sd is None:
        return None
    front, on = ranked.front_probability, ranked.on_mean_front
    return {
        "parts": [
            {"mean": _number(mean), "sd": _number(sd)}
            for mean, sd in zip(ranked.part_mean[:, row], ranked.part_sd[:, row], strict=True)
        ],
        "front_probability": None if front is None else _number(front[row]),
        "on_front": None if on is None else bool(on[row]),
    }


def _line(identifier: str | None, names: Mapping[str, str]) -> dict[str, str] | None:
    return None if identifier is None else {"id": identifier, "name": names[identifier]}


def _number(value: Any) -> float | None:
    """Six significant digits: more would only be noise, and bytes."""
    return None if value is None else float(f"{float(value):.6g}")
