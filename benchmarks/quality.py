"""What plate quality control finds on simulated plates whose truth is known.

    python -m benchmarks.quality [--plates 100]

Prints the error of viability without and with the plate-effect rule, with and without real
effects, then how often clean plates are complained of and bad ones noticed, then the time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.machine import describe
from models.quality.normalise import normalise
from models.quality.plate import Role
from models.quality.simulate import PlateLayout, ReaderModel, simulate_plate
from models.quality.verdict import check_plate

LAYOUTS = {
    "384, at random": PlateLayout(),
    "384, three replicates": PlateLayout(replicates=3),
    "384, doses by column": PlateLayout(by_column=True),
    "384, controls in end columns": PlateLayout(controls_at_edge=True),
    "96, 8 vehicles": PlateLayout(8, 12, 8, 4, 0, 2),
}
EFFECTS = {
    "none": ReaderModel(),
    "gradient 8 %": ReaderModel(column_gradient=0.08),
    "gradients 20, 30 %": ReaderModel(row_gradient=0.2, column_gradient=0.3),
    "bowl 20 %": ReaderModel(bowl=0.2),
    "edge -20 %": ReaderModel(edge=-0.2),
}
FAULTS = {
    **EFFECTS,
    "edge -50 %": ReaderModel(edge=-0.5),
    "noise 25 %": ReaderModel(noise_cv=0.25),
    "5 % failed wells": ReaderModel(failed=0.05),
    "5 % missing wells": ReaderModel(missing=0.05),
}


def errors(reader: ReaderModel, layout: PlateLayout, plates: int) -> tuple[float, float, float]:
    """RMSE of sample viability by the medians, by the plate effect, and how often one was seen."""
    found = []
    for seed in range(plates):
        sim = simulate_plate(seed, reader, layout)
        sample = sim.readings.role == Role.SAMPLE
        row = []
        for rule in ("controls-median/1", "plate-effect/1"):
            result = normalise(sim.readings, rule)
            row.append(np.sqrt(np.mean((result.value - sim.viability)[sample] ** 2)))
        found.append([*row, result.effect is not None and result.effect.present])
    plain, smooth, seen = np.mean(found, axis=0)
    return float(plain), float(smooth), float(seen)


def verdicts(reader: ReaderModel, layout: PlateLayout, plates: int) -> list[float]:
    """Shares of plates that warn, that fail, and with any proposed flag."""
    found = []
    for seed in range(plates):
        quality = check_plate(simulate_plate(10_000 + seed, reader, layout).readings)
        level = quality.verdict.level
        found.append([level == "warn", level == "fail", bool(quality.flags)])
    return [float(share) for share in np.mean(found, axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plates", type=int, default=100)
    plates = parser.parse_args().plates
    print(describe())
    print(f"{'layout':<30}{'effect':<22}{'RMSE medians':>13}{'RMSE effect':>13}{'seen':>7}")
    for where, layout in LAYOUTS.items():
        for what, reader in EFFECTS.items():
            plain, smooth, seen = errors(reader, layout, plates)
            print(f"{where:<30}{what:<22}{plain:>13.4f}{smooth:>13.4f}{seen:>7.2f}")
    print(f"{'layout':<30}{'fault':<22}{'warn':>7}{'fail':>7}{'flags':>7}")
    for where, layout in LAYOUTS.items():
        for what, reader in FAULTS.items():
            warn, fail, flags = verdicts(reader, layout, plates)
            print(f"{where:<30}{what:<22}{warn:>7.2f}{fail:>7.2f}{flags:>7.2f}")
    for where, layout in LAYOUTS.items():
        plate = simulate_plate(0, layout=layout).readings
        start = time.perf_counter()
        check_plate(plate)
        print(f"{where:<30}checked in {1000 * (time.perf_counter() - start):.0f} ms")


if __name__ == "__main__":
    main()
