"""Which channels of a network still do anything: counted while it trains, at next to no cost.

A channel is one number that an activation function bends: a unit of a dense layer, a filter of a
convolution, a unit of one member of an ensemble. For a row it is *active* where the slope of its
activation exceeds 1 % (:data:`ACTIVE`; of a sigmoid 1 % of its steepest): of a rectifier that is
right of 0, of SiLU right of -6.27, of GELU right of -3.07. A channel active in fewer than
``COLLAPSED`` of the rows has collapsed: almost no gradient reaches the weights before it, and it
rarely comes back.

Only passes that build gradients are counted, every ``EVERY``-th of a layer, and only the last one
or two windows of them are kept, so that a report tells of the end of a training, not of its
start. Counting draws no random number and changes no bit of a fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.screen import ScreenError

EVERY = 9
"""Odd, so that of two passes a step both are counted in turn."""
WINDOW = 16
"""Counted passes of a window."""
COLLAPSED = 1e-3
"""Active share below which a channel has collapsed."""
FEWEST_ROWS = 200
"""Rows from which a layer is judged: a channel that 3.5 % of the rows pass is silent in so many
once in a thousand times."""
ALERT_SHARE = 0.01
"""Collapsed share of one layer's channels above which a report raises its alert."""

ACTIVE: Mapping[str, tuple[float, float]] = {
    "relu": (0.0, math.inf),
    "leaky_relu": (0.0, math.inf),
    "elu": (-4.605, math.inf),
    "silu": (-6.27, math.inf),
    "gelu": (-3.065, math.inf),
    "softplus": (-4.595, math.inf),
    "tanh": (-2.993, 2.993),
    "sigmoid": (-5.982, 5.982),
}
"""Inputs between which an activation is active, by its name. A leaky rectifier's other slope is
1 %, so it counts as a rectifier."""

_KINDS: Mapping[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "leaky_relu",
    nn.ELU: "elu",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Softplus: "softplus",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}

_OPEN: ContextVar[tuple[ChannelHealth, ...]] = ContextVar("channel_health", default=())


@dataclass
class _Layer:
    """Counts of one layer: active rows a channel and rows, of this window and of the last."""

    kind: str
    active: Tensor
    before: Tensor
    calls: int = 0
    passes: int = 0
    rows: int = 0
    rows_before: int = 0

    def add(self, active: Tensor, rows: int) -> None:
        """Count ``active`` of one pass of ``rows`` rows; a full window becomes the one before."""
        if self.passes == WINDOW:
            self.before, self.rows_before = self.active, self.rows
            self.active, self.passes, self.rows = torch.zeros_like(self.active), 0, 0
        self.active = self.active + active
        self.passes += 1
        self.rows += rows

    def share(self) -> Tensor:
        """``(channels,)`` active share of the rows of both windows."""
        return (self.active + self.before).double().flatten() / (self.rows + self.rows_before)


class ChannelHealth:
    """Counts of one training.

    Example::

        health = ChannelHealth()
        with health.watch(network):
            train(network)
        health.report()["words"]

    ``watch(module)`` sees every activation that is a module inside ``module``;
    :func:`mark_activation` tells of one that is only a function. ``state`` and ``restore`` let a
    training that was stopped go on counting as if it had not been.
    """

    def __init__(self, every: int = EVERY) -> None:
        if every < 1:
            raise ScreenError(f"every {every}th pass cannot be counted; take 1 or more")
        self.every = every
        self._layers: dict[str, _Layer] = {}

    @contextmanager
    def watch(self, module: nn.Module | None = None, *, channel_dim: int = 1) -> Iterator[None]:
        """Count inside the body. ``channel_dim``: of the inputs of module activations, 1 as in
        convolutions and ``(rows, channels)``; -1 for ``(..., channels)``. Inside ``nn.Sequential``
        the layer before an activation decides: the last behind a linear one, 1 behind a
        convolution."""
        hooks = [] if module is None else self._hooks(module, channel_dim)
        token = _OPEN.set((*_OPEN.get(), self))
        try:
            yield
        finally:
            _OPEN.reset(token)
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def count(self, name: str, before: Tensor, kind: str, channel_dims: tuple[int, ...]) -> None:
        """Count one pass: ``before`` is what goes into the activation."""
        if kind not in ACTIVE:
            raise ScreenError(f"unknown activation {kind!r}; known are {', '.join(ACTIVE)}")
        dims = {dim % before.ndim for dim in channel_dims}
        shape = [n for dim, n in enumerate(before.shape) if dim in dims]
        layer = self._layers.get(name)
        if layer is None or list(layer.active.shape) != shape:
            zeros = torch.zeros(shape, dtype=torch.int64, device=before.device)
            layer = self._layers[name] = _Layer(kind, zeros, zeros)
        layer.calls += 1
        if (layer.calls - 1) % self.every:
            return
        low, high = ACTIVE[kind]
        inside = before > low
        if math.isfinite(high):
            inside &= before < high
        rest = [dim for dim in range(before.ndim) if dim not in dims]
        rows = math.prod(before.shape[dim] for dim in rest)
        layer.add(inside.sum(rest) if rest else inside.long(), rows)

    def report(self) -> dict[str, Any]:
        """JSON-able. ``layers``: for each its ``name``, ``activation``, number of ``channels`` and
        of those ``collapsed`` (null with fewer than 200 rows), the ``least_active`` and
        ``median_active`` share and the ``rows`` behind them. ``channels``, ``collapsed``: of all
        that were judged. ``alert``: whether more than 1 % of the channels of a layer have
        collapsed. ``words``: that, and why it matters."""
        layers = [_describe(name, layer) for name, layer in self._layers.items() if layer.rows]
        judged = [one for one in layers if one["collapsed"] is not None]
        worst = [one for one in judged if one["collapsed"] > ALERT_SHARE * one["channels"]]
        return {
            "layers": layers,
            "channels": sum(one["channels"] for one in judged),
            "collapsed": sum(one["collapsed"] for one in judged),
            "alert": bool(worst),
            "words": _words(judged, worst, len(layers) - len(judged)),
        }

    def state(self) -> dict[str, Tensor]:
        """Everything that the next count depends on, as tensors."""
        found = {}
        for name, layer in self._layers.items():
            numbers = [layer.calls, layer.passes, layer.rows, layer.rows_before]
            found[f"{name}/{layer.kind}/active"] = layer.active.clone()
            found[f"{name}/{layer.kind}/before"] = layer.before.clone()
            found[f"{name}/{layer.kind}/numbers"] = torch.tensor(numbers)
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of :meth:`state`; nothing was counted where it is empty."""
        self._layers = {}
        for key in (key for key in state if key.endswith("/numbers")):
            name, kind, _ = key.rsplit("/", 2)
            calls, passes, rows, rows_before = (int(n) for n in state[key])
            active, before = (state[f"{name}/{kind}/{which}"] for which in ("active", "before"))
            layer = _Layer(kind, active.clone(), before.clone(), calls, passes, rows, rows_before)
            self._layers[name] = layer

    def _hooks(self, module: nn.Module, channel_dim: int) -> list[Any]:
        found, dims = [], _dims_in_sequence(module)
        for name, part in module.named_modules():
            kind = _KINDS.get(type(part))
            if kind is not None:
                # Before, not behind: an activation in place has overwritten its input by then.
                dim = dims.get(part, channel_dim)
                hook = _Hook(self, name or "activation", kind, dim)
                found.append(part.register_forward_pre_hook(hook))
        return found


@dataclass(frozen=True)
class _Hook:
    health: ChannelHealth
    name: str
    kind: str
    channel_dim: int

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad:
            self.health.count(self.name, inputs[0], self.kind, (self.channel_dim,))


def mark_activation(
    name: str, before: Tensor, kind: str, channel_dims: tuple[int, ...] = (-1,)
) -> None:
    """Tell whoever watches that ``before`` goes into the activation function ``kind``, a key of
    :data:`ACTIVE`; ``channel_dims``: all dimensions of it that are not rows. Nobody watches: it
    costs a look-up."""
    watchers = _OPEN.get()
    if watchers and before.requires_grad:
        for health in watchers:
            health.count(name, before.detach(), kind, channel_dims)


def _dims_in_sequence(module: nn.Module) -> dict[nn.Module, int]:
    """The channels' dimension of each activation that follows a layer in an ``nn.Sequential``."""
    found: dict[nn.Module, int] = {}
    for sequence in module.modules():
        dim = None
        for part in sequence if isinstance(sequence, nn.Sequential) else ():
            if isinstance(part, nn.Linear):
                dim = -1
            elif isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                dim = 1
            elif type(part) in _KINDS and dim is not None:
                found[part] = dim
    return found


def _describe(name: str, layer: _Layer) -> dict[str, Any]:
    share, rows = layer.share().cpu(), layer.rows + layer.rows_before
    return {
        "name": name,
        "activation": layer.kind,
        "channels": len(share),
        "collapsed": int((share < COLLAPSED).sum()) if rows >= FEWEST_ROWS else None,
        "least_active": round(float(share.min()), 6),
        "median_active": round(float(share.median()), 6),
        "rows": rows,
    }


def _words(judged: list[dict[str, Any]], worst: list[dict[str, Any]], others: int) -> str:
    if not judged:
        seen = f"Fewer than {FEWEST_ROWS} rows were counted" if others else "Nothing was counted"
        return f"{seen}: nothing is known of the channels."
    total = sum(one["channels"] for one in judged)
    gone = sum(one["collapsed"] for one in judged)
    if not gone:
        return f"All {total} channels are active."
    parts = [f"{one['collapsed']} of {one['channels']} in {one['name']}" for one in worst]
    head = f"{gone} of {total} channels have collapsed (active in fewer than 1 of 1,000 rows)"
    if not worst:
        return f"{head}, too few of any layer to matter."
    return (
        f"{head}: {', '.join(parts)}. The network has less room than it seems to have, and what "
        f"it forecasts may be too simple: train with a lower learning rate or from a fresh start."
    )
