"""A small bench with a known truth: for tests that need a posterior, but not a good one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations, product
from typing import Any

import pytest

from models.synergy.training import Schedule
from tests.lab import Lab

COMPOUNDS = tuple("ABCDE")
LINES = ("X", "Y")
DOSES = (0.3, 3.0)
PAIRS = tuple(combinations(COMPOUNDS, 2))
BLOCKS = tuple(product(PAIRS, LINES))
"""Every block of :func:`open_campaign`: twenty of them."""

FIRST = BLOCKS[:6]
"""The blocks that are measured before the first round with a model."""

_SYNERGISTIC = frozenset({("A", "E"), ("B", "D")})


@contextmanager
def short_training() -> Iterator[None]:
    """What the service does with a posterior is tested here, not how good the posterior is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.synergy.training.MIN_STEPS", 5)
        patch.setattr("models.synergy.gaussian_process.process.STEPS", 2)
        patch.setattr(Schedule, "for_rows", classmethod(lambda cls, n: cls(10, 10)))
        yield


def viability(line: str, doses: Mapping[str, float]) -> float:
    """What a well would show without noise."""
    alone = [1 / (1 + dose / (1.0 + COMPOUNDS.index(name))) for name, dose in doses.items()]
    joint = math.prod(alone)
    synergy = 0.4 if line == "X" and tuple(sorted(doses)) in _SYNERGISTIC else 0.0
    return joint * (1 - synergy * math.prod(1 - share for share in alone))


def _well(line: str, doses: Mapping[str, float]) -> str:
    noise = random.Random(f"{line}{sorted(doses.items())}").gauss(0, 0.02)
    cells = [str(cell) for part in doses.items() for cell in part]
    cells += [""] * (4 - len(cells))
    return ",".join([line, *cells, f"{viability(line, doses) + noise:.6f}"])


def singles(compounds: Iterable[str] = COMPOUNDS, lines: Iterable[str] = LINES) -> list[str]:
    """Wells of the compounds alone."""
    doses = (0.1, 0.3, 1.0, 3.0, 10.0)
    return [_well(line, {c: dose}) for c in compounds for line in lines for dose in doses]


def block(pair: Iterable[str], line: str) -> list[str]:
    """Wells of one dose matrix."""
    a, b = pair
    return [_well(line, {a: one, b: two}) for one, two in product(DOSES, DOSES)]


def open_campaign(lab: Lab, **more: Any) -> dict[str, Any]:
    """A campaign of twenty blocks in which nothing was measured."""
    if not lab.get("/v1/compounds").json()["items"]:
        lab.compounds(*COMPOUNDS)
        lab.cell_lines(*LINES)
    members = {"compounds": list(COMPOUNDS), "cell_lines": list(LINES), "doses_um": list(DOSES)}
    return lab.campaign(**{**members, "limits": {"batch_size": 4}, **more})


def measure(lab: Lab, campaign: dict[str, Any], blocks: Iterable[tuple[Any, str]]) -> None:
    """Submit the wells of whole blocks."""
    lab.measure(campaign["id"], *(well for pair, line in blocks for well in block(pair, line)))


def start_campaign(lab: Lab, **more: Any) -> dict[str, Any]:
    """A campaign with all single agents and the first six blocks."""
    campaign = open_campaign(lab, **more)
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, FIRST)
    return campaign
