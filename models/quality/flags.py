"""Wells that a person should look at: proposals with their reason, nothing is excluded here.

A well is compared with the wells of the plate that should read alike. The threshold is Bonferroni's
for the number of wells compared, on a Student t scale that pays for the estimated spread, so that
a share of about ``FALSE_ALARM`` of clean plates gets any flag at all (0 to 0.09 on simulated
ones with noise of 6 %, see benchmarks/quality.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.pharmacology.noise import noise_of_residuals
from models.quality.normalise import Normalised
from models.quality.plate import PlateReadings, Role, well_name
from models.quality.spread import MAD_TO_SD, mad_sd, median_variance
from models.screen import FloatArray, IntArray, ScreenError

RULE = "outlier/1"
"""Name of the rule, stored with every flag; a new arithmetic gets a new name."""

FALSE_ALARM = 0.05
"""Share of clean plates on which any well is to be proposed, under normal noise."""

MAD_EFFICIENCY = 0.37
"""Degrees of freedom of a spread by MAD per well that it was taken from."""

FEWEST_CONTROLS = 4
FEWEST_TREATMENTS = 3
MANY_REPLICATES = 120
"""From so many on, replicates show how noise changes with viability."""


@dataclass(frozen=True)
class ProposedFlag:
    """One well: ``kind`` is "control outlier", "replicate outlier" or "replicates disagree" (two
    wells, of which nobody can say which is wrong). ``viability``: its value; ``expected``: the
    median of the others; ``score``: their distance in standard deviations; ``words``: for people.
    """

    row: int
    column: int
    kind: str
    viability: float
    expected: float
    score: float
    words: str


@dataclass(frozen=True)
class Proposals:
    """``flags``: ordered by position. ``compared``: wells that had others to be compared with."""

    flags: tuple[ProposedFlag, ...]
    compared: int

    @property
    def wrong(self) -> float:
        """Wells that look wrong; of two that disagree, one."""
        return sum(0.5 if f.kind == "replicates disagree" else 1.0 for f in self.flags)


@dataclass(frozen=True)
class _Comparison:
    """Wells of equal content: indices, viability, noise of each, freedom of that noise."""

    wells: IntArray
    value: FloatArray
    sd: FloatArray
    freedom: float
    control: bool = False


def propose_flags(plate: PlateReadings, viability: Normalised) -> Proposals:
    """Flags for the usable wells of ``plate``.

    ``viability`` is the plate under any rule on the viability scale; with plate effects divided
    out an edge well is not an outlier for being at the edge. Needs four control wells of a kind,
    or three treatments with replicates; says nothing about others.
    """
    if viability.scale != "viability":
        raise ScreenError(f"outliers are told on the viability scale, not on {viability.scale}")
    if len(viability.value) != len(plate):
        raise ScreenError(f"{len(viability.value)} values for {len(plate)} wells")
    comparisons = [
        *_controls(plate, viability, Role.VEHICLE),
        *_controls(plate, viability, Role.POSITIVE),
        *_replicates(plate, viability),
    ]
    tested = sum(len(comparison.wells) for comparison in comparisons)
    flags = [flag for each in comparisons for flag in _far_out(plate, each, tested)]
    return Proposals(tuple(sorted(flags, key=lambda flag: (flag.row, flag.column))), tested)


def _far_out(plate: PlateReadings, found: _Comparison, tested: int) -> list[ProposedFlag]:
    """The farthest well is judged against the median of the others and set aside if it is too
    far, and so on: otherwise one bad well of three would take the other two along."""
    threshold = float(stats.t.isf(FALSE_ALARM / (2.0 * tested), found.freedom))
    left = np.argsort(plate.row[found.wells] * plate.n_columns + plate.column[found.wells])
    flags: list[ProposedFlag] = []
    while len(left) > 1:
        value = found.value[left]
        expected = np.array([np.median(np.delete(value, k)) for k in range(len(value))])
        error = np.sqrt(1.0 + median_variance(len(left) - 1))
        score = (value - expected) / (found.sd[left] * error)
        worst = int(np.argmax(np.abs(score)))
        if abs(score[worst]) <= threshold:
            break
        pair = len(left) == 2
        kind = "replicates disagree" if pair else "replicate outlier"
        for k in (0, 1) if pair else (worst,):
            at = int(found.wells[left[k]])
            flags.append(
                _flag(
                    plate,
                    at,
                    "control outlier" if found.control else kind,
                    (float(value[k]), float(expected[k]), float(score[k]), threshold),
                )
            )
        left = left[:0] if pair else np.delete(left, worst)
    return flags


def _flag(
    plate: PlateReadings, well: int, kind: str, numbers: tuple[float, float, float, float]
) -> ProposedFlag:
    row, column = int(plate.row[well]), int(plate.column[well])
    viability, expected, score, threshold = numbers
    others = "its pair" if kind == "replicates disagree" else "the others' median"
    words = (
        f"{kind} {well_name(row, column)}: viability {viability:.3f}, {others} {expected:.3f}, "
        f"{abs(score):.1f} standard deviations apart (limit {threshold:.1f})"
    )
    return ProposedFlag(row, column, kind, viability, expected, score, words)


def _controls(plate: PlateReadings, viability: Normalised, role: Role) -> list[_Comparison]:
    wells = np.flatnonzero(plate.usable & (plate.role == role))
    n = len(wells)
    if n < FEWEST_CONTROLS:
        return []
    value = viability.value[wells]
    # The MAD of few wells is too small on average (Croux and Rousseeuw 1992).
    sd = mad_sd(value) * n / (n - 0.8)
    if sd == 0.0:
        return []
    return [_Comparison(wells, value, np.full(n, sd), _freedom(n), control=True)]


def _replicates(plate: PlateReadings, viability: Normalised) -> list[_Comparison]:
    content = plate.content()
    wells = np.flatnonzero(plate.usable & (content > 0))
    _, group, count = np.unique(content[wells], return_inverse=True, return_counts=True)
    repeated = count[group] > 1
    wells, group = wells[repeated], np.unique(group[repeated], return_inverse=True)[1]
    count = np.bincount(group)
    if len(count) < FEWEST_TREATMENTS:
        return []
    value = viability.value[wells]
    members = [np.flatnonzero(group == g) for g in range(len(count))]
    level = np.array([np.median(value[same]) for same in members])[group]
    mean = (np.bincount(group, value) / count)[group]
    residual = (value - mean) * np.sqrt(count / (count - 1.0))[group]
    unit, freedom = _noise_shape(plate, viability, level, residual)
    freedom = min(freedom, _freedom(len(wells) - len(count)))
    scale = MAD_TO_SD * float(np.median(np.abs(residual / unit)))
    if scale == 0.0:
        return []
    sd = unit * scale
    return [_Comparison(wells[same], value[same], sd[same], freedom) for same in members]


def _noise_shape(
    plate: PlateReadings, viability: Normalised, level: FloatArray, residual: FloatArray
) -> tuple[FloatArray, float]:
    """``(n,)`` noise at viability ``level`` up to a factor, and the freedom of its estimate.

    Learned from the replicates where they are many, else from the controls, whose shape is as
    uncertain as the fewer of them are few.
    """
    if len(residual) >= MANY_REPLICATES:
        learned = noise_of_residuals(level, residual, "replicates of the plate")
        return learned.sd(np.maximum(level, 0.0)), float(len(residual))
    noise = viability.control_noise()
    if noise is None or noise.additive_sd == 0.0:
        return np.ones(len(level)), float(len(residual))
    fewer = min(len(plate.readings(role)) for role in (Role.VEHICLE, Role.POSITIVE))
    freedom = _freedom(fewer) if fewer else float(len(residual))
    return noise.sd(np.maximum(level, 0.0)), freedom


def _freedom(n: int) -> float:
    return max(MAD_EFFICIENCY * n, 1.0)
