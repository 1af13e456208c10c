"""Batch normalisation whose channels do not collapse.

Behind a batch normalisation a rectifier passes the share Phi(beta / |gamma|) of the rows of a
channel. Gradients of gamma and beta are sums over these rows, so a channel that noise has driven
to beta << -|gamma| never comes back: it is 0 for good. Here

    y = gamma x_hat + beta + s,    s = stop_gradient(max(0, -T |gamma| - beta)),    T = 1.5

so the shift in effect is never below -T |gamma|: at least Phi(-1.5) = 6.7 % of the rows pass, and
beta, whose own gradient does not know of s, is carried back by them. The published layer's formula
was not accessible; this is a construction with its stated properties. It is collapse-resistant,
not immune: weights that diverge are beyond it, and a gamma of exactly 0 is a constant channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.screen import ScreenError

LOWEST_SHIFT = 1.5
"""T: widths |gamma| by which the shift in effect may lie below 0."""


class PostShiftedBatchNorm(_BatchNorm):
    """``(n, channels)`` or ``(n, channels, ...)`` to the same shape; see the module.

    ``lowest``: T. Parameters, buffers and names are those of ``nn.BatchNorm1d``, so states are
    exchanged with it freely; the running statistics are its own, too. Raises
    :class:`models.screen.ScreenError` for a T that is not positive or another number of channels.
    """

    weight: nn.Parameter
    bias: nn.Parameter

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

    @torch.no_grad()
    def shift(self) -> Tensor:
        """``(channels,)`` what is added to beta; 0 where beta >= -T |gamma|. No gradient."""
        return (-self.lowest * self.weight.abs() - self.bias).clamp(min=0.0)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the batch in training, by the running statistics else."""
        plain = super().forward(input)
        shape = (1, self.num_features, *(1 for _ in input.shape[2:]))
        return plain + self.shift().reshape(shape)

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
    state["bias"] += layer.shift()
    plain.to(layer.weight.device, layer.weight.dtype).load_state_dict(state)
    return plain.eval().requires_grad_(False)
