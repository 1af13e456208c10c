"""What every training loop shares: its own error, one thread, the density of Student-t noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite; the message says at which step."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the body on one CPU thread: its tensors are small, and threads that wait for each other
    on a busy machine made a fit ten times slower than one thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def student_log_density(residual: Tensor, scale: Tensor, df: Tensor) -> Tensor:
    """log of the Student-t density of ``residual`` with this scale, broadcast; nats."""
    half = (df + 1) / 2
    constant = torch.lgamma(half) - torch.lgamma(df / 2) - 0.5 * torch.log(df * math.pi)
    return constant - torch.log(scale) - half * torch.log1p((residual / scale).square() / df)
