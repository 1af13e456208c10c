"""What saved models share comes back as it was, and another's is refused."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from models.perturbation.saving import (
    df_from_json,
    df_to_json,
    head_of,
    read_head,
    to_arrays,
    to_tensors,
)
from models.screen import ScreenError


def test_heads_go_through_json_and_others_are_refused() -> None:
    posterior = SimpleNamespace(perturbations=("A", "B"), readouts=("g",))
    head = json.loads(json.dumps(head_of(posterior, "ridge", 2)))
    assert read_head(head, "ridge", 2) == {"perturbations": ("A", "B"), "readouts": ("g",)}
    for model, version in (("ridge", 1), ("mean", 2)):
        with pytest.raises(ScreenError, match=f"cannot load ridge version 2 as {model}"):
            read_head(head, model, version)
    with pytest.raises(ScreenError, match="cannot load None version None"):
        read_head({}, "ridge", 2)


def test_arrays_are_copied_both_ways() -> None:
    values = np.array([[0.1, np.pi]])
    tensors = to_tensors({"values": values})
    values[:] = 0.0
    back = to_arrays(tensors, ["values"])
    assert back["values"].tobytes() == np.array([[0.1, np.pi]]).tobytes()
    back["values"][:] = 1.0
    assert float(tensors["values"].sum()) == pytest.approx(0.1 + np.pi)
    with pytest.raises(KeyError):
        to_arrays(tensors, ["other"])


@pytest.mark.parametrize("df", [3.0, math.inf])
def test_tails_go_through_json(df: float) -> None:
    assert df_from_json(json.loads(json.dumps(df_to_json(df), allow_nan=False))) == df
