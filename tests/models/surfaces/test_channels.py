"""The operator tells whoever watches how active its channels are, members apart."""

from __future__ import annotations

import numpy as np
import torch

from models.bayes.channel_health import ChannelHealth
from models.surfaces.inputs import channels, context_of, encode
from models.surfaces.kriging import Field
from models.surfaces.network import Sizes, draw_parameters, forward
from tests.models.surfaces.toys import LINES, N_COMPOUNDS, N_LINES, blocks

FIELD = Field.shaped_by_level((-3.0, -3.0, -3.0, -3.0, -4.0, -0.5, 0.0, 0.0))
SIZES = Sizes(N_COMPOUNDS, N_LINES, 0, width=6)


def test_a_silent_channel_of_one_member_is_counted() -> None:
    table = blocks((4, 4)).select(np.arange(9))
    context = context_of((table,), LINES, N_COMPOUNDS)
    encoded = encode(table, context, np.zeros((9, 4, 4, 4)), np.zeros((9, 3)))
    at = channels(encoded, torch.from_numpy(table.measured).float(), FIELD, 0.1)
    drawn = draw_parameters(SIZES, torch.Generator().manual_seed(3))
    weights = {name: torch.stack([value, value]) for name, value in drawn.items()}
    weights["out_bias"][1, 2] = -1e3
    frozen = {name: value.clone() for name, value in weights.items()}
    health = ChannelHealth(every=1)
    with health.watch():
        for _ in range(6):
            forward({n: w.requires_grad_(True) for n, w in weights.items()}, SIZES, encoded, at)
        forward(frozen, SIZES, encoded, at)  # builds no gradients: not a part that is trained
    layers = {layer["name"]: layer for layer in health.report()["layers"]}
    assert set(layers) == {"lift", "join", "block0", "block1", "out"}
    assert {layer["channels"] for layer in layers.values()} == {12}
    assert {name: layer["collapsed"] for name, layer in layers.items() if layer["collapsed"]} == {
        "out": 1
    }
    assert layers["out"]["rows"] == 6 * 9 * 16
