"""The double-receiver circuit of the VI-HDS paper (Roeder et al. 2019, section 5).

Bacteria grow and make a red protein always, a yellow and a cyan one from two promoters that two
receivers (R for C6, S for C12) switch on, each of them a little by the other's signal too. With
gamma = r sigmoid(4 (t - lag)) (1 - x / K):

    x' = gamma x,                       red' = rho - (gamma + d_red) red,
    yellow' = rho a_y P81 - (gamma + d_yellow) yellow,
    cyan' = rho a_c P76 - (gamma + d_cyan) cyan,
    f530' = rho a_530 - gamma f530,     f480' = rho a_480 - gamma f480,
    R' = rho a_R - (gamma + d_R) R,     S' = rho a_S - (gamma + d_S) S,
    P_j = (e_j + k_Rj b_R + k_Sj b_S) / (1 + k_Rj b_R + k_Sj b_S),
    b_R = R^2 phi_R,    phi_R = ((K_R6 c6)^n + (K_R12 c12)^n) / (1 + K_R6 c6 + K_R12 c12)^n.

Read are x, x red, x (yellow + f530) and x (cyan + f480). The amounts a well holds, Z = x z, obey
Z' = x (production) - d Z: gamma drops out, x is logistic in the time that has passed since the
lag, and the rest are linear equations whose right-hand sides are known. :meth:`exact` solves them
by quadrature, without a single evaluation of the right-hand side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.dynamics.parameters import GroupEffect, Parameter, Prior, Spread
from models.dynamics.systems.protocol import Context, Observed, System, Values

LAG_SHARPNESS = 4.0
"""Steepness of the end of the lag phase, per hour."""
CHANNELS = ("OD", "mRFP1", "EYFP", "ECFP")


class DoubleReceiver(System):
    """Inputs: concentrations of C6 and C12 (nM), not negative.

    ``receivers``: group factors and reference groups of a_R and a_S, whose effect is 1 there.
    ``individual``: median prior spread between wells of what differs from well to well; ``plain``
    keeps the paper's list of local parameters (r, K, lag, rho), otherwise yields differ as well.
    ``batches``: factors (plates, devices) that shift growth and production.
    """

    name = "double-receiver"
    states = ("x", "red", "yellow", "cyan", "f530", "f480", "R", "S")
    channels = CHANNELS

    def __init__(
        self,
        receivers: tuple[tuple[str, str], tuple[str, str]] | None = None,
        batches: tuple[str, ...] = (),
        *,
        plain: bool = False,
        substeps: int = 1,
    ) -> None:
        super().__init__()
        self.substeps = substeps
        self.parameters_of_model = _parameters(receivers, batches, plain)

    def prepare(self, values: Values, inputs: Tensor) -> Context:
        """Rates stacked by state; occupancies phi of both receivers at these inputs."""
        v = values
        c6, c12 = inputs[0], inputs[1]
        phi_r = _occupancy(v["K_R6"] * c6, v["K_R12"] * c12, v["n_R"])
        phi_s = _occupancy(v["K_S6"] * c6, v["K_S12"] * c12, v["n_S"])
        one = torch.ones_like(v["rho"] + phi_r + phi_s)
        made = [one, v["a_530"], v["a_480"], v["a_R"], v["a_S"]]
        lost = [v["d_red"], 0 * one, 0 * one, v["d_R"], v["d_S"]]
        return {
            "growth": torch.stack([item * one for item in (v["r"], v["K"], v["lag"], v["x0"])]),
            "phi": torch.stack([phi_r * one, phi_s * one]),
            "made": v["rho"] * torch.stack([item * one for item in made]),
            "lost": torch.stack([item * one for item in lost]),
            "yield": v["rho"] * torch.stack([v["a_yellow"] * one, v["a_cyan"] * one]),
            "fade": torch.stack([v["d_yellow"] * one, v["d_cyan"] * one]),
            "leak": torch.stack([v["leak_81"] * one, v["leak_76"] * one]),
            "by_R": torch.stack([v["k_R81"] * one, v["k_R76"] * one]),
            "by_S": torch.stack([v["k_S81"] * one, v["k_S76"] * one]),
        }

    def initial(self, context: Context) -> Tensor:
        """x0 cells, nothing else."""
        x0 = context["growth"][3:4]
        return torch.cat([x0, torch.zeros_like(x0).expand(7, -1, -1)])

    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        """The equations above; states are concentrations per cell."""
        r, k, lag, _ = context["growth"]
        x = state[:1]
        gamma = r * torch.sigmoid(LAG_SHARPNESS * (time - lag)) * (1 - x / k)
        active = _activity(state[6:7], state[7:8], context)
        made, lost = context["made"], context["lost"]
        production = torch.cat([made[:1], context["yield"] * active, made[1:]])
        loss = torch.cat([lost[:1], context["fade"], lost[1:]])
        return torch.cat([gamma * x, production - (gamma + loss) * state[1:]])

    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        """x, x red, x (yellow + f530), x (cyan + f480)."""
        x = trajectory[:, :1]
        glow = torch.stack(
            [
                trajectory[:, 1],
                trajectory[:, 2] + trajectory[:, 4],
                trajectory[:, 3] + trajectory[:, 5],
            ],
            dim=1,
        )
        return Observed(torch.cat([x, x * glow], dim=1))

    def exact(self, times: Tensor, context: Context) -> Tensor:
        """By quadrature: second order in the distance of the times over ``substeps``."""
        grid, wanted = _refined(times, self.substeps)
        r, k, lag, x0 = context["growth"]
        passed = functional.softplus(LAG_SHARPNESS * (grid[:, None, None] - lag))
        passed = (passed - functional.softplus(-LAG_SHARPNESS * lag)) / LAG_SHARPNESS
        x = k * x0 / (x0 + (k - x0) * torch.exp(-r * passed))
        step = torch.diff(grid)
        base = _accumulate(x[:, None] * context["made"], context["lost"], step)
        per_cell = base / x[:, None]
        active = _activity(per_cell[:, 3:4], per_cell[:, 4:5], context)
        lit = _accumulate(x[:, None] * context["yield"] * active, context["fade"], step)
        order = [x[:, None], per_cell[:, :1], lit / x[:, None], per_cell[:, 1:]]
        return torch.cat(order, dim=1)[wanted]


def _activity(R: Tensor, S: Tensor, context: Context) -> Tensor:
    """Promoter activities P81 and P76, ``(..., 2, K, N)``, from receivers ``(..., 1, K, N)``."""
    phi = context["phi"]
    bound = context["by_R"] * (R.square() * phi[0]) + context["by_S"] * (S.square() * phi[1])
    return (context["leak"] + bound) / (1 + bound)


def _occupancy(first: Tensor, second: Tensor, hill: Tensor) -> Tensor:
    """(first^n + second^n) / (1 + first + second)^n, exactly 0 without either."""
    total = 1 + first + second
    return _power(first / total, hill) + _power(second / total, hill)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    """base^exponent with a derivative of 0 at base 0."""
    present = base > 0
    safe = torch.where(present, base, torch.ones_like(base))
    return torch.where(present, torch.exp(exponent * torch.log(safe)), torch.zeros_like(safe))


def _refined(times: Tensor, substeps: int) -> tuple[Tensor, Tensor]:
    """Hour 0 and ``times`` with ``substeps`` parts between, and where the times are in it."""
    nodes = times if float(times[0]) == 0 else torch.cat([times.new_zeros(1), times])
    parts = torch.arange(substeps, device=times.device, dtype=times.dtype) / substeps
    inner = (nodes[:-1, None] + torch.diff(nodes)[:, None] * parts).reshape(-1)
    grid = torch.cat([inner, nodes[-1:]])
    first = (len(nodes) - len(times)) * substeps
    return grid, torch.arange(first, len(grid), substeps, device=times.device)


def _accumulate(made: Tensor, lost: Tensor, step: Tensor) -> Tensor:
    """Z' = made(t) - lost Z from Z = 0: ``(M, Z, K, N)`` by the trapezoid of each step."""
    kept = torch.exp(-step[:, None, None, None] * lost)
    added = 0.5 * step[:, None, None, None] * (kept * made[:-1] + made[1:])
    amounts = [torch.zeros_like(made[0])]
    for keep, add in zip(kept.unbind(0), added.unbind(0), strict=True):
        amounts.append(torch.addcmul(add, keep, amounts[-1]))
    return torch.stack(amounts)


def _parameters(
    receivers: tuple[tuple[str, str], tuple[str, str]] | None,
    batches: tuple[str, ...],
    plain: bool,
) -> tuple[Parameter, ...]:
    """Priors of section 5 of the paper, re-centred where the unit of the data says so."""
    shifts = tuple(GroupEffect(factor, Spread(0.1)) for factor in batches)
    log = Prior.lognormal
    well = Spread(0.15)

    def local(name: str, prior: Prior, spread: Spread = well) -> Parameter:
        return Parameter(name, prior, 1, shifts, spread)

    def shared(name: str, location: float, sd: float, differs: bool = False) -> Parameter:
        individual = Spread(0.1) if differs and not plain else None
        return Parameter(name, log(location, sd), 1, shifts if individual else (), individual)

    found = [
        local("r", log(0.0, 0.25)),
        local("K", log(-0.3, 0.7)),
        local("lag", log(0.0, 0.7), Spread(0.3)),
        local("rho", log(-1.0, 1.0)),
        local("x0", log(math.log(0.002), 0.5)),
        *_receivers(receivers, plain),
        shared("a_yellow", -1.0, 2.0, True),
        shared("a_cyan", -1.0, 2.0, True),
        shared("a_530", -3.0, 2.0, True),
        shared("a_480", -3.0, 2.0, True),
        shared("d_red", -2.0, 1.0, True),
    ]
    table = {"d_yellow": (-2.0, 1.0), "d_cyan": (-2.0, 1.0), "d_R": (-2.0, 1.0)}
    table |= {"d_S": (-2.0, 1.0), "leak_81": (-3.0, 1.0), "leak_76": (-3.0, 1.0)}
    table |= {"k_R76": (2.0, 3.0), "k_R81": (-2.0, 3.0), "k_S76": (-2.0, 3.0)}
    table |= {"k_S81": (2.0, 3.0), "K_R6": (-6.0, 3.0), "K_R12": (-12.0, 3.0)}
    table |= {"K_S6": (-12.0, 3.0), "K_S12": (-6.0, 3.0), "n_R": (0.5, 0.25), "n_S": (0.5, 0.25)}
    return (*found, *(shared(name, *prior) for name, prior in table.items()))


def _receivers(
    receivers: tuple[tuple[str, str], tuple[str, str]] | None, plain: bool
) -> tuple[Parameter, ...]:
    """a_R and a_S: 1 in the reference group, as scaled by rho elsewhere."""
    individual = None if plain else Spread(0.1)
    if receivers is None:
        fixed = Prior.lognormal(0.0, 0.0)
        return tuple(Parameter(name, fixed, 1, (), individual) for name in ("a_R", "a_S"))
    return tuple(
        Parameter(
            name,
            Prior.lognormal(0.0, 0.0),
            1,
            (GroupEffect(factor, Spread(1.0), reference),),
            individual,
        )
        for name, (factor, reference) in zip(("a_R", "a_S"), receivers, strict=True)
    )
