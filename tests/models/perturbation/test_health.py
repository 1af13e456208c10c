"""The report on fits to responses: rules that learn and a table that memorises."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.perturbation.data import ResponseTable
from models.perturbation.health import describe_response_health
from models.perturbation.registry import response_models
from models.perturbation.vae.response_model import VaeResponses
from models.screen import FloatArray, Stopped


def _table(p: int = 12, g: int = 4, seed: int = 0) -> ResponseTable:
    """All singles and pairs of ``p`` perturbations, whose effects add up."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(p, g))
    pairs = [(i, j) for i in range(p) for j in range(i, p)]
    doses = np.zeros((len(pairs) + 2, p))
    for row, pair in enumerate(pairs):
        doses[row, list(pair)] = 1.0
    values = doses @ effects + 0.05 * rng.normal(size=(len(doses), g))
    values[-2:] = 0.02 * rng.normal(size=(2, g))
    return ResponseTable.of(
        perturbations=[f"p{k}" for k in range(p)],
        readouts=[f"r{k}" for k in range(g)],
        conditions=[f"c{k}" for k in range(len(doses))],
        doses=doses,
        values=values,
    )


@dataclass
class _Stored:
    """Says what it was given."""

    table: ResponseTable
    channels: dict[str, Any] | None = None

    def mean(self, doses: FloatArray) -> FloatArray:
        place = {row.tobytes(): at for at, row in enumerate(self.table.doses)}
        return self.table.values[[place[row.tobytes()] for row in doses]]

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        import torch

        return {"values": torch.from_numpy(self.table.values)}, {}


class _Memory:
    name = "memory"

    def fit(self, table: ResponseTable, **_: Any) -> _Stored:
        return _Stored(table)


def test_a_table_memorises() -> None:
    table = _table()
    report = describe_response_health(_Memory(), _Stored(table), table, 0)  # type: ignore[arg-type]
    assert report["memorisation"]["active"]
    assert report["memorisation"]["parameters"] == table.values.size
    assert report["memorisation"]["n"] == 78  # the controls are none of the conditions
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize("name", ["additive", "mean"])
def test_a_rule_that_adds_effects_does_not_and_still_explains(name: str) -> None:
    """78 conditions by 12 effects: chance explains about 12 / 77 of permuted responses."""
    table, model = _table(), response_models()
    posterior = model[name].fit(table, seed=0)
    memory = describe_response_health(model[name], posterior, table, 0)["memorisation"]
    assert memory["active"] is False
    assert memory["probe"]["permuted_r_squared"] < 0.3


def test_channels_that_collapsed_are_a_warning() -> None:
    table = _table(p=5)
    dead = {"alert": True, "words": "3 channels are gone"}
    report = describe_response_health(
        _Memory(),  # type: ignore[arg-type]
        _Stored(table, dead),  # type: ignore[arg-type]
        table,
        0,
    )
    assert report["warnings"] == ["3 channels are gone"]
    assert "fewer than 30" in report["memorisation"]["words"]


def test_the_network_of_the_vae_says_how_active_it_is() -> None:
    table, model = _table(p=8, g=3), VaeResponses(steps=50)
    posterior = model.fit(table, seed=0)
    report = describe_response_health(model, posterior, table, 0)
    assert report["channels"]["channels"] > 0
    assert report["memorisation"]["probe"]["rows"] == 36
    again = VaeResponses().load(*posterior.save())
    assert again.channels == posterior.channels


def test_a_stop_reaches_through() -> None:
    table, model = _table(), VaeResponses(steps=30)
    posterior = _Stored(table)
    with pytest.raises(Stopped):
        describe_response_health(model, posterior, table, 0, should_stop=lambda: True)  # type: ignore[arg-type]
