"""Gillespie's direct method: every single event, exactly. The reference, not the workhorse.

All trajectories of a call advance together, each by its own clock, one event a turn (Gillespie
1977): the waiting time is exponential with the total propensity, and a reaction is chosen in
proportion to its own.
"""

from __future__ import annotations

import numpy as np

from models.dynamics.stochastic.reactions import ReactionNetwork, check_run
from models.screen import FloatArray, ScreenError, StopCallback, Stopped, never_stop

MOST_TURNS = 5_000_000


def simulate_direct(
    network: ReactionNetwork,
    values: FloatArray,
    start: FloatArray,
    times: FloatArray,
    seed: int,
    *,
    should_stop: StopCallback = never_stop,
) -> FloatArray:
    """Counts ``(N, T, S)`` at ``times`` ``(T,)`` of ``N`` trajectories.

    ``values`` ``(N, P)`` or ``(P,)`` constants in the order of the network's parameters; ``start``
    ``(N, S)`` or ``(S,)`` counts at time 0; one of the two has ``N`` rows. Raises
    :class:`ScreenError` for input that is no network's, or after five million events of one.
    """
    values, start = np.atleast_2d(values), np.atleast_2d(start)
    check_run(times, start, values)
    n = max(len(values), len(start))
    constants = np.broadcast_to(values, (n, values.shape[1]))
    counts = np.array(np.broadcast_to(start, (n, len(network.species))), np.float64)
    change = network.change().astype(np.float64)
    generator = np.random.default_rng(seed)
    found = np.zeros((n, len(times), len(network.species)))
    clock, place, live = np.zeros(n), np.zeros(n, np.int64), np.arange(n)
    for turn in range(MOST_TURNS):
        if turn % 1000 == 0 and should_stop():
            raise Stopped
        rates = network.propensities(counts[live], constants[live])
        total = rates.sum(axis=1)
        with np.errstate(divide="ignore"):
            clock[live] += generator.exponential(size=len(live)) / total
        place[live] = _read(found, counts, clock, place, live, times)
        going = place[live] < len(times)
        live, rates, total = live[going], rates[going], total[going]
        if not len(live):
            return found
        drawn = generator.uniform(size=len(live)) * total
        chosen = (np.cumsum(rates, axis=1) <= drawn[:, None]).sum(axis=1)
        # Rounding of the last sum must not choose a reaction that cannot fire.
        chosen = np.minimum(chosen, rates.shape[1] - 1 - np.argmax(rates[:, ::-1] > 0, axis=1))
        counts[live] += change[chosen]
    raise ScreenError(f"more than {MOST_TURNS:,} events in one trajectory: use tau-leaping")


def _read(
    found: FloatArray,
    counts: FloatArray,
    clock: FloatArray,
    place: np.ndarray,
    live: np.ndarray,
    times: FloatArray,
) -> np.ndarray:
    """Write the state into all readings before the next event; returns the next reading's place."""
    reached = np.searchsorted(times, clock[live], side="left")
    for row in np.flatnonzero(reached > place[live]).tolist():
        found[live[row], place[live[row]] : reached[row]] = counts[live[row]]
    return np.asarray(np.maximum(reached, place[live]))
