"""Could this model have learned its data by heart? A report on every fit.

Four parts. *Counts*: N points, d inputs and P numbers of one fitted function against what
interpolation takes (:mod:`models.bayes.interpolation`). The theorem behind the upper count cannot
certify that a network is too small: its sharp regime needs points as close as exp(-c N), beyond
float32. *Separation*: distances of nearest neighbours among the inputs. *Duplicates*: identical
inputs with different labels, whose variance no function of these inputs can explain. *The probe*,
which decides: the same training on permuted labels. A model that explains more than ``ACTIVE`` of
labels without any meaning memorises, and its errors on the data it was fitted to say nothing.
That is a fact, not yet a fault: a model that is told of small standard errors and has an effect
for each experiment believes any label, and may forecast others well all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.bayes.interpolation import fewest_parameters, interpolating_parameters
from models.bayes.neighbours import Neighbours
from models.screen import FloatArray, IntArray, ScreenError

ACTIVE = 0.3
"""R squared on permuted labels above which memorisation is active."""
PROBE_ROWS = 400
"""Most points of a probe."""
FEWEST_PROBED = 30
"""With fewer points R squared on permuted labels is an accident."""

Light = Literal["red", "amber", "green", "unknown"]

WORDS: dict[Light, str] = {
    "red": "it has enough numbers to reproduce any labels by the simplest construction",
    "amber": "it may reproduce any labels if the points lie well apart",
    "green": "too few numbers to reproduce any labels by a known construction",
    "unknown": "its numbers cannot be counted",
}


@dataclass(frozen=True)
class Separation:
    """Of ``n`` points in ``dimensions``, ``distinct`` of them different. ``least``, ``one_percent``
    and ``median``: distances of nearest neighbours among the distinct ones, in radii of the ball
    that holds all; ``None`` for fewer than two. ``bits``: log2(1 / least)."""

    n: int
    dimensions: int
    distinct: int
    least: float | None
    one_percent: float | None
    median: float | None

    @property
    def bits(self) -> float | None:
        """log2 of one over the least distance; ``None`` where there is none, or it is 0."""
        return None if not self.least else -math.log2(self.least)


@dataclass(frozen=True)
class Duplicates:
    """``groups`` of identical inputs with ``points`` in all; ``conflicting`` groups whose labels
    differ. ``variance``: within groups, in the label's unit squared; ``None`` without groups."""

    groups: int
    points: int
    conflicting: int
    variance: float | None


@dataclass(frozen=True)
class Probe:
    """``permuted`` R squared of a fit to permuted labels of ``rows`` points, on themselves;
    ``fitted``: that of the real fit on the same points, where known."""

    rows: int
    permuted: float
    fitted: float | None

    @property
    def active(self) -> bool:
        """Whether the model memorises."""
        return self.permuted > ACTIVE


def separation(x: FloatArray, neighbours: Neighbours | None = None) -> Separation:
    """Of inputs ``(n, d)``; exact duplicates count once. ``neighbours``: of ``x``, if known. Of
    very many points a random part is looked at (:data:`models.bayes.neighbours.MOST_LOOKED_AT`).
    """
    n, dimensions = x.shape
    points = _distinct(x)
    if len(points) < 2:
        return Separation(n, dimensions, len(points), None, None, None)
    centred = points - points.mean(axis=0)
    radius = float(np.linalg.norm(centred, axis=1).max())
    if neighbours is None or len(points) < n:
        neighbours = Neighbours.of(points, 1)
    nearest = neighbours.distances[:, 0] / radius
    low, middle = np.quantile(nearest, [0.01, 0.5])
    return Separation(n, dimensions, len(points), float(nearest.min()), float(low), float(middle))


def duplicates(group: IntArray, y: FloatArray) -> Duplicates:
    """Of labels ``(n,)`` or ``(n, outputs)`` whose inputs are numbered ``(n,)``, equal numbers
    for equal inputs (:func:`groups_of`); the variance is a mean over outputs."""
    labels = y.reshape(len(y), -1)
    _, where, count = np.unique(group, return_inverse=True, return_counts=True)
    several = count > 1
    if not several.any():
        return Duplicates(0, 0, 0, None)
    mean = np.zeros((len(count), labels.shape[1]))
    np.add.at(mean, where, labels)
    squares = np.square(labels - (mean / count[:, None])[where]).mean(axis=1)
    within = np.bincount(where, squares)[several]
    freedom = int((count[several] - 1).sum())
    span = np.zeros(len(count), bool)
    first = np.zeros(len(count), np.int64)
    first[where[::-1]] = np.arange(len(y))[::-1]
    np.logical_or.at(span, where, (labels != labels[first[where]]).any(axis=1))
    points, conflicting = int(count[several].sum()), int(span.sum())
    return Duplicates(int(several.sum()), points, conflicting, float(within.sum()) / freedom)


def groups_of(x: FloatArray) -> IntArray:
    """``(n,)`` a number for each row of ``(n, d)``, equal for rows that are equal to the bit."""
    return np.asarray(np.unique(_rows(x), return_inverse=True)[1].ravel(), np.int64)


def light(n: int, dimensions: int, parameters: int | None) -> Light:
    """Traffic light of the counts: red from d + 2 N + 1 numbers, green below sqrt(N log2 N)."""
    if parameters is None:
        return "unknown"
    if parameters >= interpolating_parameters(n, dimensions) + 2:
        return "red"
    return "amber" if parameters >= fewest_parameters(n) else "green"


def r_squared(y: FloatArray, fitted: FloatArray) -> float:
    """Explained share of the variance of ``(n,)`` or ``(n, outputs)`` labels, each output about
    its own mean; below 0 where the mean is better. Raises :class:`ScreenError` where the labels
    are all the same."""
    spread = float(np.square(y - y.mean(axis=0)).sum())
    if not spread > 0:
        raise ScreenError("all labels are the same: there is nothing to explain")
    return 1.0 - float(np.square(y - fitted).sum()) / spread


def probe_rows(n: int, seed: int) -> tuple[IntArray, IntArray]:
    """Rows of a probe, sorted, and the row from which each gets its label."""
    rng = np.random.default_rng([seed, n, 8])
    rows = np.sort(rng.permutation(n)[:PROBE_ROWS])
    return rows, rows[rng.permutation(len(rows))]


def probe(
    y: FloatArray, refit: Callable[[IntArray, IntArray], FloatArray], seed: int
) -> Probe | None:
    """The permutation probe; ``None`` for fewer than ``FEWEST_PROBED`` points or equal labels.

    ``refit(rows, labels_of)``: train as before on the points ``rows``, the k-th with the label of
    point ``labels_of[k]``, and return the fitted values at ``rows``. With more than ``PROBE_ROWS``
    points it sees a random part. Fewer points are easier to memorise: that errs towards alarm.
    """
    if len(y) < FEWEST_PROBED:
        return None
    rows, labels_of = probe_rows(len(y), seed)
    if not np.square(y[rows] - y[rows].mean(axis=0)).sum() > 0:
        return None
    return Probe(len(rows), r_squared(y[labels_of], refit(rows, labels_of)), None)


def describe_memory(
    x: FloatArray,
    y: FloatArray,
    parameters: int | None,
    *,
    neighbours: Neighbours | None = None,
    probed: Probe | None = None,
    why_not_probed: str = "",
    counted: str = "",
) -> dict[str, Any]:
    """The report, JSON-able, for inputs ``(n, d)`` and labels ``(n,)`` or ``(n, outputs)``.

    ``n``, ``dimensions``, ``parameters`` (of one function; ``counted`` says what is among them)
    and ``parameters_per_point``; ``light`` and the counts behind it; ``separation``;
    ``duplicates``; ``probe``, null with the reason in ``words`` where there was none; ``active``:
    whether the model memorises, null where that was not probed; ``words``: all of it in a few
    sentences. ``active`` outweighs the light: the light says what could be, the probe what is.
    """
    n, dimensions = x.shape
    apart, same = separation(x, neighbours), duplicates(groups_of(x), y)
    colour = light(n, dimensions, parameters)
    return {
        "n": n,
        "dimensions": dimensions,
        "parameters": parameters,
        "counted": counted,
        "parameters_per_point": None if parameters is None else round(parameters / n, 4),
        "light": colour,
        "needed_to_interpolate": interpolating_parameters(n, dimensions) + 2,
        "fewest_known": fewest_parameters(n),
        "separation": {
            "distinct": apart.distinct,
            "least": _number(apart.least),
            "one_percent": _number(apart.one_percent),
            "median": _number(apart.median),
            "bits": _number(apart.bits),
        },
        "duplicates": {
            "groups": same.groups,
            "points": same.points,
            "conflicting": same.conflicting,
            "variance": _number(same.variance),
        },
        "probe": None if probed is None else _describe_probe(probed),
        "active": None if probed is None else probed.active,
        "words": " ".join(filter(None, _sentences(n, parameters, colour, same, probed)))
        + (f" {why_not_probed}" if probed is None and why_not_probed else ""),
    }


def _describe_probe(probed: Probe) -> dict[str, Any]:
    return {
        "rows": probed.rows,
        "permuted_r_squared": _number(probed.permuted),
        "fitted_r_squared": _number(probed.fitted),
        "threshold": ACTIVE,
    }


def _sentences(
    n: int, parameters: int | None, colour: Light, same: Duplicates, probed: Probe | None
) -> list[str]:
    count = "" if parameters is None else f"{parameters} numbers for {n} points: "
    found = [f"{count}{WORDS[colour]}."]
    if same.conflicting:
        found.append(
            f"{same.conflicting} of {same.groups} groups of identical inputs have different "
            f"labels (variance {same.variance:.4g}): no function of these inputs explains that."
        )
    if probed is not None:
        said = f"Trained on permuted labels it explained {100 * max(0.0, probed.permuted):.0f} %"
        verdict = (
            "memorisation is active: how well it fits its own data says nothing, only points "
            "that it did not see judge it. Use an ensemble and stop early"
            if probed.active
            else "it does not memorise"
        )
        found.append(f"{said} of them ({probed.rows} points): {verdict}.")
    return found


def _number(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _rows(x: FloatArray) -> np.ndarray:
    """Each row as one value that compares bit for bit; 0 and -0 are the same."""
    table = np.ascontiguousarray(x, np.float64) + 0.0
    if not table.shape[1]:
        return np.zeros(len(table), np.int8)
    return table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()


def _distinct(x: FloatArray) -> FloatArray:
    return x[np.sort(np.unique(_rows(x), return_index=True)[1])]
