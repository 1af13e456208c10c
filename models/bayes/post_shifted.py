"""Batch normalisation whose channels do not collapse.

Behind a batch normalisation a rectifier passes the share Phi(beta / |gamma|) of the rows of a
channel. Gradients of gamma and beta are sums over these rows, so a channel that noise has driven
to beta << -|gamma| never comes back: it is 0 for good. Here

    y = gamma x_hat + beta + s,    s = stop_gradient(max(0, -T |gamma| - beta)),    T = 1.5

so the shift in effect is never below -T |gamma|: at least Phi(-1.5) = 6.7 % of the rows pass, and
beta, whose own gradient does not know of s, is carried back by them. That is so where x_hat is
normal. Behind other rectifiers it may be so skewed that hardly a row ever comes as far as T: then
a channel gets, in place of T, how far the furthest sixteenth of the rows of a batch come on average
(:meth:`PostShiftedBatchNorm.reach`), which in normal rows is beyond T = 1.5.

The published layer's formula was not accessible; this is a construction with its stated
properties. It is collapse-resistant, not immune: weights that diverge are beyond it, and a gamma
of exactly 0 is a constant channel.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.screen import ScreenError

LOWEST_SHIFT = 1.5
"""T: widths |gamma| by which the shift in effect may lie below 0."""
_FURTHEST = 1 / 16
_LOOKED_AT = 1024
"""Rows of a batch, about, of which the furthest are found: enough for a sixteenth of them."""


class PostShiftedBatchNorm(_BatchNorm):
    """``(n, channels)`` or ``(n, channels, ...)`` to the same shape; see the module.

    ``lowest``: T. Parameters, buffers and names of a state are those of ``nn.BatchNorm1d``, so
    states are exchanged with it freely; the running statistics are its own, too. Raises
    :class:`models.screen.ScreenError` for a T that is not positive or another number of channels.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    ends: Tensor
    """``(2, channels)`` running means of the values that the highest and the lowest sixteenth of
    the rows of a training batch pass; infinite before the first. No part of a state: where rows do
    not come as far as T, the state's beta has the shift in it."""

    def __init__(
        self,
        channels: int,
        *,
        lowest: float = LOWEST_SHIFT,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ) -> None:
        super().__init__(channels, eps, momentum)
        if not lowest > 0:
            raise ScreenError(f"the lowest shift must be positive, not {lowest}")
        self.lowest = lowest
        ends = torch.tensor([[math.inf], [-math.inf]]).repeat(1, channels)
        self.register_buffer("ends", ends, persistent=False)

    @torch.no_grad()
    def shift(self) -> Tensor:
        """``(channels,)`` what is added to beta; 0 where beta >= -T |gamma|, if rows come as far
        as T. No gradient."""
        return (-self.reach() * self.weight.abs() - self.bias).clamp(min=0.0)

    @torch.no_grad()
    def reach(self) -> Tensor:
        """``(channels,)`` how far a sixteenth of the rows comes on the side that gamma lets
        through, in widths of the running statistics; at most T."""
        mean, var = self._served()
        up = torch.where(self.weight >= 0, self.ends[0] - mean, mean - self.ends[1])
        return (up / (var + self.eps).sqrt()).clamp(max=self.lowest)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the batch in training, by the running statistics else."""
        plain = super().forward(input)
        if self.training:
            self._note_ends(input)
        shape = (1, self.num_features, *(1 for _ in input.shape[2:]))
        return plain + self.shift().reshape(shape)

    @torch.no_grad()
    def _note_ends(self, input: Tensor) -> None:
        rows = input.transpose(0, 1).flatten(1)
        rows = rows[:, :: max(1, rows.shape[1] // _LOOKED_AT)]
        count = max(1, int(_FURTHEST * rows.shape[1]))
        high, low = (rows.topk(count, 1, largest).values[:, -1] for largest in (True, False))
        ends = torch.stack([high, low])
        known = torch.where(self.ends.isinf(), ends, self.ends)
        self.ends.copy_(known.lerp(ends, self._share()))

    def _served(self) -> tuple[Tensor, Tensor]:
        if self.running_mean is None or self.running_var is None:
            raise ScreenError("the layer needs its running statistics")
        return self.running_mean, self.running_var

    def _share(self) -> float:
        """What the newest batch counts for, as in the running statistics."""
        if self.momentum is not None:
            return self.momentum
        return 1.0 / max(1, int(self.num_batches_tracked or 1))

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        skew = self.reach() < self.lowest
        if not keep_vars and bool((self.shift()[skew] > 0).any()):
            bias = self.bias.detach()
            destination[f"{prefix}bias"] = torch.where(skew, bias + self.shift(), bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ScreenError(
                f"expected (rows, {self.num_features}, ...), the input is {tuple(input.shape)}"
            )


def fold(layer: PostShiftedBatchNorm) -> nn.BatchNorm1d:
    """The plain layer that answers as ``layer`` does: beta takes up the shift, all else is copied.

    In evaluation mode, ready for ``torch.nn.utils.fusion`` (which asks neither for the number of
    spatial dimensions) to vanish into the layer before it.
    """
    plain = nn.BatchNorm1d(layer.num_features, layer.eps, layer.momentum)
    state = {name: tensor.detach().clone() for name, tensor in layer.state_dict().items()}
    state["bias"] = layer.bias.detach() + layer.shift()
    plain.to(layer.weight.device, layer.weight.dtype).load_state_dict(state)
    return plain.eval().requires_grad_(False)
