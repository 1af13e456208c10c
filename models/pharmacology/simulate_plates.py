"""A simulated screen on plates of which some are noisier than others, controls included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.pharmacology.noise import NoiseModel
from models.pharmacology.simulate import SimulatedScreen
from models.screen import Candidates, FloatArray, IntArray, PlateTable, Screen, ScreenError, Wells


def simulate_plates(
    simulated: SimulatedScreen,
    candidates: Candidates,
    plate: IntArray,
    noise_factor: FloatArray,
    *,
    vehicles: int,
    single_replicates: int = 2,
    seed: int,
) -> Screen:
    """The wells of the candidates, one a dose pair, of all single agents and of vehicles.

    ``plate``: ``(m,)`` plate of each block. ``noise_factor``: ``(p,)`` by which the noise of every
    well of a plate is multiplied. Each plate has ``vehicles`` vehicle wells of each cell line with
    wells on it, from which its ``control_sd`` is taken; the replicates of a cell line's single
    agents lie on plates of their own choice, each replicate on one. The same arguments give the
    same screen.

    Raises :class:`ScreenError` for fewer than two vehicles, or a block on a plate that is not.
    """
    n_plates = len(noise_factor)
    if vehicles < 2:
        raise ScreenError(f"{vehicles} vehicle wells show no scatter; give at least two")
    if plate.min(initial=0) < 0 or plate.max(initial=0) >= n_plates:
        raise ScreenError(f"a block lies on a plate outside the {n_plates} plates")
    rng = np.random.default_rng([seed, n_plates])
    n_lines = len(simulated.cell_lines)
    home = rng.integers(0, n_plates, (single_replicates, n_lines))
    parts, at, ids, sd = [], list[int](), list[str](), list[float]()
    for row, factor in enumerate(noise_factor.tolist()):
        noise = simulated.noise
        loud = NoiseModel(factor * noise.additive_sd, factor * noise.proportional_sd, noise.source)
        own = replace(simulated, noise=loud)
        wells = [own.measure(candidates.select(plate == row), 1, seed * 1000 + row)]
        for replicate in range(single_replicates):
            single = own.single_agents(1, seed * 1000 + n_plates * (1 + replicate) + row)
            wells.append(single.select(home[replicate][single.cell_line] == row))
        controls = own.controls(vehicles, seed * 1000 + 500 + row)
        for line in np.unique(np.concatenate([each.cell_line for each in wells])).tolist():
            vehicle = controls.select(controls.cell_line == line)
            sd.append(float(np.std(vehicle.viability, ddof=1)))
            for each in (*wells, vehicle):
                mine = each.select(each.cell_line == line)
                parts.append(mine)
                at += [len(ids)] * len(mine)
            ids.append(f"plate {row + 1}, line {line}")
    table = PlateTable(tuple(ids), np.array(sd), np.full(len(ids), vehicles - 1.0))
    return _on_plates(simulated.screen(*parts), np.array(at, dtype=np.int64), table)


def without_plates(screen: Screen) -> Screen:
    """The same wells, with nothing known of their plates."""
    return replace(screen, wells=replace(screen.wells, plate=None, plates=None))


def _on_plates(screen: Screen, plate: IntArray, plates: PlateTable) -> Screen:
    wells: Wells = replace(screen.wells, plate=plate, plates=plates)
    return replace(screen, wells=wells)
