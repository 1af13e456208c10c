"""Growth, death and apoptosis of cells under two drugs, as live-cell imaging sees them.

Living cells L divide at rate g and die at rate k; a share f of the dying passes through early
apoptosis E, which loses its membrane at rate d (A); the rest dies at once (N):

    L' = g (1 - L / K) L - k L,   E' = k f L - d E,   A' = d E,   N' = k (1 - f) L,

all in units of confluence, with the capacity K as an option. Observed are phase = L + E + w (A +
N), green (Annexin V) = c_g (E + A) + offset and red (YOYO-3) = c_r (A + N) + offset, offsets that
may drift. With constant rates and no capacity the solution is closed (:func:`closed_form`): that
of the growth model of the Meyer laboratory's ps-growth-model (MIT licence).

Drugs act on the rates, each by a Hill term, and together by an interaction on each rate:

    g = g0 (1 - e_A(a)) (1 - e_B(b)) exp(I_g(a, b)),   k = (k0 + k_A(a) + k_B(b)) exp(I_k(a, b)).

I_g and I_k are exactly 0 where either dose is 0; without them growth follows Bliss independence
and deaths add. I_g < 0 is cytostatic synergy, I_k > 0 cytotoxic synergy. The action sets in as
t^2 / (t^2 + tau^2). Both compounds enter by sums and products alone, so that swapping them (with
their parameters) changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.dynamics.parameters import GroupEffect, Parameter, Prior, Spread
from models.dynamics.systems.protocol import Context, Observed, System, Values
from models.screen import ScreenError

CHANNELS = ("phase", "green", "red")
PLATE, CONDITION = "plate", "condition"
"""Names of the group factors that the system uses: batches, and dose pairs."""

CONTROL = "control"
"""The condition without drugs: it has no misfit of the dose surface."""

RATES = ("growth", "death")

INTERACTION = 0.5
"""Size of the interactions that are expected: the logarithm of a factor on a rate."""

KNOTS = 3
"""Points in time between which the background of a channel drifts linearly."""

_SMALL = 1e-3


def phi1(z: Tensor) -> Tensor:
    """(e^z - 1) / z, with its limit 1 at 0 and gradients that stay finite."""
    near = z.abs() < _SMALL
    safe = torch.where(near, torch.ones_like(z), z)
    return torch.where(
        near, 1 + z / 2 + z**2 / 6 + z**3 / 24 + z**4 / 120, torch.expm1(safe) / safe
    )


def phi2(z: Tensor) -> Tensor:
    """(e^z - 1 - z) / z^2, with its limit 1/2 at 0."""
    near = z.abs() < 10 * _SMALL
    safe = torch.where(near, torch.ones_like(z), z)
    return torch.where(near, 0.5 + z / 6 + z**2 / 24 + z**3 / 120, (phi1(safe) - 1) / safe)


def closed_form(t: Tensor, g: Tensor, k: Tensor, f: Tensor, d: Tensor) -> Tensor:
    """States L, E, A, N ``(4, ...)`` at ``t`` hours from L(0) = 1, with constant rates an hour.

    With G = g - k: L = e^{Gt}; E = k f (e^{Gt} - e^{-dt}) / (G + d); N = k (1-f)(e^{Gt} - 1) / G;
    A = k f (e^{Gt} - 1) / G - E. The poles at G = 0 and G = -d are removable and removed.
    Arguments broadcast.
    """
    rate = g - k
    dead = k * t * phi1(rate * t)
    early = k * f * torch.exp(-d * t) * t * phi1((rate + d) * t)
    living = torch.exp(rate * t) + 0 * early
    return torch.stack([living, early, f * dead - early, (1 - f) * dead])


def hill(dose: Tensor, ec50: Tensor, slope: Tensor) -> Tensor:
    """dose^h / (dose^h + ec50^h), exactly 0 at dose 0."""
    given = dose > 0
    ratio = torch.log(torch.where(given, dose, torch.ones_like(dose)) / ec50)
    return torch.where(given, torch.sigmoid(slope * ratio), torch.zeros_like(ratio))


@dataclass(frozen=True)
class GrowthDeathScale:
    """What the priors take from the experiment: units and usual sizes, never the outcome.

    ``doses``: a typical dose of each drug (units of the doses). ``initial``: usual phase at hour
    0. ``capacity``: highest phase there can be, ``None`` for growth without limit. ``signal``:
    usual size of green and red. ``hours``: length of the experiment.
    """

    doses: tuple[float, float]
    initial: float
    signal: tuple[float, float]
    hours: float
    capacity: float | None = 100.0

    def __post_init__(self) -> None:
        given = (*self.doses, self.initial, *self.signal, self.hours)
        if not all(math.isfinite(x) and x > 0 for x in (*given, self.capacity or 1.0)):
            raise ScreenError(f"scales of a growth model must be positive numbers, got {self}")


class GrowthDeath(System):
    """The system of this module. Inputs are the two doses, in the unit of ``scale.doses``.

    ``interaction`` False leaves out I_g and I_k (Bliss on rates). ``onset`` False lets the drugs
    act from hour 0. ``plates`` gives plates effects of their own, ``conditions`` dose pairs a
    misfit of the dose surface (the reference :data:`CONTROL` must be among them),
    ``wells`` lets wells differ.
    """

    name = "growth and death"
    states = ("living", "early apoptotic", "late apoptotic", "dead", "hours")
    channels = CHANNELS

    def __init__(
        self,
        scale: GrowthDeathScale,
        *,
        interaction: bool = True,
        onset: bool = True,
        plates: bool = True,
        conditions: bool = True,
        wells: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.interaction, self.onset = scale, interaction, onset
        self._plates, self._conditions, self._wells = plates, conditions, wells
        parameters = [*self._rates(), *self._drugs(), *self._signals(), *self._misfits()]
        self.parameters_of_model = tuple(parameters)

    def _by_plate(self, median: float) -> tuple[GroupEffect, ...]:
        return (GroupEffect(PLATE, Spread(median, 0.7)),) if self._plates else ()

    def _by_well(self, median: float) -> Spread | None:
        return Spread(median, 0.7) if self._wells else None

    def _rates(self) -> list[Parameter]:
        start = Prior.lognormal(math.log(self.scale.initial), 0.5)
        found = [
            Parameter("initial", start, 1, self._by_plate(0.1), self._by_well(0.1)),
            Parameter("growth", Prior.lognormal(math.log(0.04), 0.5), 1, self._by_plate(0.05)),
            Parameter("death", Prior.lognormal(math.log(0.002), 0.7)),
            Parameter("conversion", Prior.lognormal(math.log(0.05), 0.4)),
        ]
        if self.scale.capacity is not None:
            limit = Prior.lognormal(math.log(self.scale.capacity), 0.15)
            found.append(Parameter("capacity", limit))
        return found

    def _drugs(self) -> list[Parameter]:
        """``[0]`` of each is drug A, ``[1]`` drug B; of ``apoptotic`` [0] is without drugs."""
        relative = Prior.lognormal(0.0, 1.0)
        found = [
            Parameter("growth_limit", Prior.normal(1.0, 1.5), 2),
            Parameter("growth_ec50", relative, 2),
            Parameter("growth_hill", Prior.lognormal(math.log(1.5), 0.5), 2),
            Parameter("death_limit", Prior.lognormal(math.log(0.01), 1.0), 2),
            Parameter("death_ec50", relative, 2),
            Parameter("death_hill", Prior.lognormal(math.log(1.5), 0.5), 2),
            Parameter("apoptotic", Prior.normal(0.0, 1.0), 3),
        ]
        if self.onset:
            delay = Prior.lognormal(math.log(15.0), 0.7)
            found += [Parameter("growth_onset", delay, 2), Parameter("death_onset", delay, 2)]
        if self.interaction:
            for rate in RATES:
                size = Prior.lognormal(math.log(INTERACTION), 0.0)
                found += [
                    Parameter(f"{rate}_interaction_size", size),
                    Parameter(f"{rate}_interaction", Prior.normal(0.0, 1.0), 4),
                ]
        return found

    def _signals(self) -> list[Parameter]:
        by_pair = self._by_pair()
        found = [Parameter("debris", Prior.lognormal(math.log(0.5), 0.5))]
        for channel, signal in zip(CHANNELS[1:], self.scale.signal, strict=True):
            size = Prior.lognormal(math.log(signal / self.scale.initial), 1.0)
            drift = Prior.normal(0.0, 1.0)
            by_plate = self._by_plate(0.1)
            found += [
                Parameter(f"{channel}_size", size, 1, by_plate + by_pair, self._by_well(0.1)),
                Parameter(f"{channel}_offset", drift, KNOTS, by_plate),
            ]
        return found

    def _by_pair(self) -> tuple[GroupEffect, ...]:
        """Dose pairs differ from what the dose curves say; without drugs nothing does."""
        effect = GroupEffect(CONDITION, Spread(0.15, 0.7), CONTROL)
        return (effect,) if self._conditions else ()

    def _misfits(self) -> list[Parameter]:
        none, groups = Prior.normal(0.0, 0.0), self._by_pair()
        found = []
        if self._conditions or self._wells:
            found = [
                Parameter("growth_misfit", none, 1, groups, self._by_well(0.05)),
                Parameter("death_misfit", none, 1, groups, self._by_well(0.15)),
            ]
        if self._conditions and self.onset:
            found += [Parameter(f"{rate}_onset_misfit", none, 1, groups) for rate in RATES]
        return found

    def prepare(self, values: Values, inputs: Tensor) -> Context:
        """Rates at the end (``_end``) and without drugs (``_start``), delays and signals."""
        effects = self.effects(values, inputs)
        context = {
            "initial": values["initial"],
            "growth_start": values["growth"],
            "death_start": values["death"],
            "conversion": values["conversion"],
            "debris": values["debris"],
            "green_size": values["green_size"],
            "red_size": values["red_size"],
            "green_offset": values["green_offset"] * self.scale.signal[0],
            "red_offset": values["red_offset"] * self.scale.signal[1],
            **effects,
        }
        if self.scale.capacity is not None:
            context["crowding"] = 1 / values["capacity"]
        return context

    def effects(self, values: Values, inputs: Tensor) -> dict[str, Tensor]:
        """What two doses ``(2, 1, N)`` do to the rates: ``growth_end`` and ``death_end`` (an hour),
        ``apoptotic`` (share), ``growth_onset`` and ``death_onset`` (hours), and the interactions
        ``growth_interaction`` and ``death_interaction`` (logarithms of factors)."""
        dose = inputs / inputs.new_tensor(self.scale.doses).reshape(2, 1, 1)
        slow = torch.sigmoid(values["growth_limit"])
        slow = slow * hill(dose, values["growth_ec50"], values["growth_hill"])
        kill = values["death_limit"] * hill(dose, values["death_ec50"], values["death_hill"])
        joint = {rate: self._interaction(rate, values, dose) for rate in RATES}
        off = {rate: values.get(f"{rate}_misfit", joint[rate] * 0) for rate in RATES}
        base = values["death"]
        dying = base + (kill[0] + kill[1])
        shares = torch.sigmoid(values["apoptotic"])
        through = base * shares[0] + (kill[0] * shares[1] + kill[1] * shares[2])
        left = (1 - slow[0]) * (1 - slow[1])
        found = {
            # Off by parts of the growth without drugs: the logarithm of no growth has no end.
            "growth_end": values["growth"] * (left * torch.exp(joint["growth"]) + off["growth"]),
            "death_end": dying * torch.exp(joint["death"] + off["death"]),
            "apoptotic": through / dying,
            "growth_interaction": joint["growth"],
            "death_interaction": joint["death"],
        }
        if self.onset:
            late = {rate: values.get(f"{rate}_onset_misfit", joint[rate] * 0) for rate in RATES}
            slowed = -torch.log1p(-slow)
            found["growth_onset"] = _blend(values["growth_onset"], slowed) * torch.exp(
                late["growth"]
            )
            found["death_onset"] = _blend(values["death_onset"], kill) * torch.exp(late["death"])
        return found

    def _interaction(self, rate: str, values: Values, dose: Tensor) -> Tensor:
        """4 u_A u_B (b0 + b1 (2 u_A - 1) + b2 (2 u_B - 1) + b3 (2 u_A - 1)(2 u_B - 1)) times its
        size, with u = dose / (dose + typical dose): 0 where a dose is 0, level at high doses."""
        u = dose / (1 + dose)
        if not self.interaction:
            return torch.zeros_like(values["growth"] * u[0])
        b = values[f"{rate}_interaction"]
        c = 2 * u - 1
        surface = b[0] + (b[1] * c[0] + b[2] * c[1]) + b[3] * (c[0] * c[1])
        return values[f"{rate}_interaction_size"] * (4 * (u[0] * u[1])) * surface

    def initial(self, context: Context) -> Tensor:
        """Only living cells, ``(5, K, N)``; the clock begins."""
        nothing = torch.zeros_like(context["growth_end"] + context["initial"])
        return torch.stack([context["initial"] + nothing, *[nothing] * 4])

    def _rate_at(self, time: float | Tensor, rate: str, context: Context) -> Tensor:
        first, last = context[f"{rate}_start"], context[f"{rate}_end"]
        if not self.onset:
            return last + 0 * first
        squared = torch.as_tensor(time, dtype=last.dtype) ** 2
        share = squared / (squared + context[f"{rate}_onset"] ** 2)
        return first + (last - first) * share

    def derivative(self, time: float | Tensor, state: Tensor, context: Context) -> Tensor:
        """The right-hand side above, ``(5, K, N)`` an hour."""
        g, k = self._rate_at(time, "growth", context), self._rate_at(time, "death", context)
        living, early = state[0], state[1]
        share, crowding = context["apoptotic"], context.get("crowding")
        room = 1.0 if crowding is None else 1 - living * crowding
        loss, turned = k * living, context["conversion"] * early
        born = g * room * living
        hours = torch.ones_like(loss)
        return torch.stack([born - loss, share * loss - turned, turned, (1 - share) * loss, hours])

    def exact(self, times: Tensor, context: Context) -> Tensor:
        """States ``(T, 5, K, N)``: in closed form with constant rates and no capacity, else up to
        quadrature between ``times`` (a Bernoulli equation; errors of the step's fourth power for
        L and the sum of the dead, of its second power for the early apoptotic)."""
        if not self.onset and "crowding" not in context:
            t = times.reshape(-1, 1, 1)
            states = closed_form(
                t, context["growth_end"], context["death_end"], context["apoptotic"],
                context["conversion"],
            )  # fmt: skip
            cells = (context["initial"] * states).movedim(0, 1)
            return torch.cat([cells, (t + 0 * cells[:, 0])[:, None]], dim=1)
        grid = times if float(times[0]) == 0 else torch.cat([times.new_zeros(1), times])
        return self._quadrature(grid, context)[len(grid) - len(times) :]

    def _quadrature(self, grid: Tensor, context: Context) -> Tensor:
        t, steps = grid.reshape(-1, 1, 1), torch.diff(grid).reshape(-1, 1, 1)
        g, g_slope, g_sum = self._rate_course("growth", t, context)
        k, k_slope, k_sum = self._rate_course("death", t, context)
        grown = torch.exp(g_sum - k_sum)
        living = context["initial"] * grown
        net = g - k
        crowding = context.get("crowding")
        if crowding is not None:
            crowd = _cumulative(g * grown, (g_slope + g * net) * grown, steps)
            living = living / (1 + context["initial"] * crowding * crowd)
            net = net - g * crowding * living
        loss = k * living
        dead = _cumulative(loss, (k_slope + k * net) * living, steps)
        share = context["apoptotic"]
        early = share * _relaxed(loss, context["conversion"], steps)
        late = share * dead - early
        return torch.stack([living, early, late, (1 - share) * dead, t + 0 * living], dim=1)

    def _rate_course(self, rate: str, t: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """The rate at ``t`` ``(T, 1, 1)``, its slope and its integral from hour 0."""
        first, last = context[f"{rate}_start"], context[f"{rate}_end"]
        if not self.onset:
            level = last + 0 * (first + t)
            return level, torch.zeros_like(level), last * t
        tau = context[f"{rate}_onset"]
        total = t**2 + tau**2
        change = last - first
        level = first + change * (t**2 / total)
        slope = change * (2 * t * tau**2 / total**2)
        return level, slope, first * t + change * (t - tau * torch.atan(t / tau))

    def observe(self, trajectory: Tensor, context: Context) -> Observed:
        """Phase, green and red ``(T, 3, K, N)``, without noise."""
        living, early, late, dead, hours = trajectory.unbind(1)
        drift = self._drift(hours[:, 0, 0])
        phase = living + early + context["debris"] * (late + dead)
        green = context["green_size"] * (early + late)
        red = context["red_size"] * (late + dead)
        green = green + torch.einsum("jt,jkn->tkn", drift, context["green_offset"])
        red = red + torch.einsum("jt,jkn->tkn", drift, context["red_offset"])
        return Observed(torch.stack([phase, green, red], dim=1))

    def _drift(self, hours: Tensor) -> Tensor:
        """Share of each knot in the background at ``(T,)`` hours: ``(KNOTS, T)``."""
        width = self.scale.hours / (KNOTS - 1)
        nodes = width * torch.arange(KNOTS, dtype=hours.dtype, device=hours.device)
        inside = hours.clamp(0, self.scale.hours)
        return (1 - (inside - nodes[:, None]).abs() / width).clamp_min(0)


def _blend(delays: Tensor, strength: Tensor) -> Tensor:
    """Delay of a mixture: the geometric mean of both, weighted by how much each drug does."""
    total = strength[0] + strength[1]
    acting = total > 0
    safe = torch.where(acting, total, torch.ones_like(total))
    logs = torch.log(delays)
    mixed = (logs[0] * strength[0] + logs[1] * strength[1]) / safe
    return torch.exp(torch.where(acting, mixed, 0.5 * (logs[0] + logs[1])))


def _cumulative(values: Tensor, slopes: Tensor, steps: Tensor) -> Tensor:
    """Integral from the first node to each, ``(T, K, N)``: trapezoids corrected by slopes."""
    level = 0.5 * steps * (values[:-1] + values[1:])
    pieces = level + steps**2 / 12 * (slopes[:-1] - slopes[1:])
    return torch.cat([torch.zeros_like(pieces[:1]), torch.cumsum(pieces, 0)])


def _relaxed(source: Tensor, rate: Tensor, steps: Tensor) -> Tensor:
    """Solution of y' = source - rate y, y(0) = 0, at the nodes; ``source`` linear between them."""
    x = -rate * steps
    late = phi2(x)
    gained = steps * ((phi1(x) - late) * source[:-1] + late * source[1:])
    kept = torch.exp(x)
    levels = [torch.zeros_like(gained[0])]
    for keep, gain in zip(kept.unbind(0), gained.unbind(0), strict=True):
        levels.append(keep * levels[-1] + gain)
    return torch.stack(levels)


def typical_dose(doses: Sequence[float]) -> float:
    """Geometric mean of the doses above 0. Raises :class:`ScreenError` if there is none."""
    given = [dose for dose in doses if dose > 0]
    if not given:
        raise ScreenError("a drug of the pair was never given: there is no dose above 0")
    return math.exp(math.fsum(math.log(dose) for dose in sorted(set(given))) / len(set(given)))
