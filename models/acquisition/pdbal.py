"""PDBAL: the plate after which two random worlds are expected to be closest.

Worlds i are draws from the posterior; d(i, j) is a distance between two of them that the caller
chooses: what is not to be confused. The score of a plate P of wells (lower is better) is the mean
over all ordered triples of different worlds

    s(P) = mean  d(i, j) L(i, j, k; P) exp(2 H_i(P)),    L = int p_i p_j p_k

with Gaussian p_i, their entropy H_i (Tosh, Tec and Tansey 2022, arXiv 2210.12122). One well with
means m, variances v and A = v_i v_j + v_j v_k + v_i v_k has, exactly,

    log L = -log 2 pi - 1/2 log A
            - (v_k (m_i - m_j)^2 + v_j (m_i - m_k)^2 + v_i (m_j - m_k)^2) / (2 A)

Log terms add over wells, so that conditioning on wells chosen or pending before is a running sum.
Where all worlds share v, A = 3 v^2 and a well brings log(e / sqrt 3) - (sum of squares) / (6 v):
all triples follow from the matrix of squared distances between worlds (:class:`PlateScorer`).
Note that then a well that tells nothing still brings the factor e / sqrt 3: compare plates of one
size. Other noise than Gaussian is represented by its standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from models.acquisition.draws import AcquisitionError, require_draws, require_noise
from models.acquisition.triples import (
    WORLDS,
    distinct_triples,
    log_triples,
    shift_of,
)
from models.acquisition.world_distances import require_distance
from models.bayes.predictive import Noise
from models.screen import FloatArray, IntArray

PER_WELL = 1.0 - 0.5 * math.log(3.0)
"""log(e / sqrt 3): what the overlap and the entropies of equal variances leave."""
ELEMENTS = 1 << 17
"""Pairs of worlds times plates at once: 1 MB a matrix, near a core."""
COLUMNS = 1 << 10
"""Wells turned at once."""

Plates = Sequence[IntArray] | IntArray
"""Columns of the draws that each plate measures; a repeated one is a replicate."""


def pdbal(draws: FloatArray, noise: Noise | None, distance: FloatArray) -> FloatArray:
    """Value of single candidates as plates of one well: a_j = log s({}) - log s({j}), nats.

    ``draws`` ``(n, m)`` with ``n >= 3``, ``distance`` ``(n, n)``. The factor that every well
    brings is left out, so that a measurement that tells nothing is worth 0. All values are 0
    where no two worlds differ: nothing is left to find out. Costs n^3 for each candidate.
    """
    checked = require_draws(draws, least=WORLDS)
    law = require_noise(noise, checked.shape[1])
    if not np.any(require_distance(distance, len(checked))):
        return np.zeros(checked.shape[1])
    scorer = PlateScorer(checked, np.square(law.sd()), distance)
    wells = np.arange(checked.shape[1])[:, None]
    return np.asarray(scorer.current + PER_WELL - scorer.score(wells))


class PlateScorer:
    """log s(P) of any plates, given what was added, for variances that all worlds share.

    ``draws`` ``(n, m)``: means of ``m`` wells in ``n >= 3`` worlds. ``variance`` ``(m,)``: of one
    measurement of each. ``distance`` ``(n, n)``: see :mod:`models.acquisition.world_distances`.
    All triples in float64, as a matrix product: n^3 for each plate, whatever its size and
    whatever was added. Where float64 has not the range, sums are done in logarithms instead.

        scorer = PlateScorer(draws, variance, hit_set_distance(draws, 10.0))
        best = plates[np.argmin(scorer.score(plates))]
        scorer.add(best)

    Raises :class:`AcquisitionError` for draws, variances and distances that make no sense, and
    where no two worlds differ.
    """

    def __init__(self, draws: FloatArray, variance: FloatArray, distance: FloatArray) -> None:
        checked = require_draws(draws, least=WORLDS)
        n, m = checked.shape
        law = require_noise(Noise(np.sqrt(variance)), m)
        # Wells as rows, and one that tells nothing, with which short plates are filled.
        white = np.zeros((m + 1, n))
        for part in parts(m, COLUMNS):
            some = checked[:, part]
            white[:m][part] = ((some - some.mean(axis=0)) / law.scale[part]).T
        self.white = torch.from_numpy(white)
        self._log_count = math.log(distinct_triples(n))
        self.distance = torch.from_numpy(require_distance(distance, n))
        if not bool(self.distance.any()):
            raise AcquisitionError("no two worlds differ in this distance: nothing to find out")
        self.base = torch.zeros((n, n), dtype=torch.float64)
        self._wells = 0
        self._conditioned()

    def score(self, plates: Plates, *, threads: int = 1) -> FloatArray:
        """``(len(plates),)`` log s of what was added and each plate; lower is better.

        ``threads``: how many work at once, each on one core where the caller keeps torch to one
        (:func:`models.bayes.training.one_thread`). The result does not depend on it.
        """
        rows, wells = self.padded(plates)
        result = np.empty(len(rows))

        def work(part: slice) -> None:
            """Fill ``result`` for some plates."""
            between = squared_distances(self.white[rows[part]]).add_(self.base)
            result[part] = log_triples(between, self.distance, self._shift).numpy()

        side_by_side(work, parts(len(rows), ELEMENTS // len(self.base) ** 2), threads)
        return result + (wells + self._wells) * PER_WELL - self._log_count

    def add(self, plate: IntArray) -> None:
        """Condition on a plate, chosen or pending."""
        rows, wells = self.padded([plate])
        self.base += squared_distances(self.white[rows])[0]
        self._wells += int(wells[0])
        self._conditioned()

    def _conditioned(self) -> None:
        self._shift = float(shift_of(self.base[None])[0])
        total = log_triples(self.base[None].clone(), self.distance, self._shift)
        self.current = float(total[0]) + self._wells * PER_WELL - self._log_count
        """log s of what was added so far."""

    def padded(self, plates: Plates) -> tuple[Tensor, FloatArray]:
        """``(plates, most wells)`` rows of the table and how many of them are wells."""
        m = len(self.white) - 1
        sizes = np.array([len(plate) for plate in plates], dtype=np.int64)
        rows = np.full((len(sizes), int(sizes.max(initial=1))), m, dtype=np.int64)
        flat = np.concatenate([np.asarray(plate, dtype=np.int64) for plate in plates])
        if len(flat) and not (flat.min() >= 0 and flat.max() < m):
            raise AcquisitionError(f"a plate names a well that is none of the {m} of the draws")
        rows[np.arange(rows.shape[1]) < sizes[:, None]] = flat
        return torch.from_numpy(rows), sizes.astype(np.float64)


def parts(count: int, size: int) -> list[slice]:
    """0 to ``count`` in slices of ``size``, at least 1."""
    size = max(1, size)
    return [slice(start, start + size) for start in range(0, count, size)]


def side_by_side(work: Callable[[slice], None], tasks: list[slice], threads: int) -> None:
    """Every task, ``threads`` at a time."""
    if threads == 1:
        for task in tasks:
            work(task)
        return
    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(work, tasks))


def squared_distances(white: Tensor) -> Tensor:
    """``(plates, n, n)`` sums over wells of (z_i - z_j)^2, by Gram matrices; ``white``
    ``(plates, wells, n)``, centred so that little cancels."""
    gram = torch.bmm(white.transpose(1, 2), white)
    square = gram.diagonal(dim1=1, dim2=2).clone()
    return gram.mul_(-2.0).add_(square[:, :, None]).add_(square[:, None, :])


class GeneralPlateScorer:
    """As :class:`PlateScorer` where each world has its own variances: ``variance`` ``(n, m)``.

    Every triple of every well by the general formula: n^3 times wells, for small cases.
    """

    def __init__(self, draws: FloatArray, variance: FloatArray, distance: FloatArray) -> None:
        self._draws = require_draws(draws, least=WORLDS)
        self._variance = require_draws(variance)
        if variance.shape != draws.shape or np.any(variance <= 0):
            raise AcquisitionError("variances must be positive, one for each draw of each well")
        n = len(draws)
        checked = require_distance(distance, n)
        if not np.any(checked):
            raise AcquisitionError("no two worlds differ in this distance: nothing to find out")
        self._first, self._second, self._third = _ordered_triples(n)
        weight = checked[self._first, self._second]
        with np.errstate(divide="ignore"):
            self.base = np.log(weight) - math.log(len(weight))

    def score(self, plates: Plates) -> FloatArray:
        """``(len(plates),)`` log s of what was added and each plate; lower is better."""
        return np.array([np.logaddexp.reduce(self.base + self._terms(p)) for p in plates])

    def add(self, plate: IntArray) -> None:
        """Condition on a plate, chosen or pending."""
        self.base = self.base + self._terms(plate)

    def _terms(self, plate: IntArray) -> FloatArray:
        """log L + 2 H of every triple, summed over the wells of a plate."""
        total = np.zeros(len(self._first))
        for well in plate:
            m, v = self._draws[:, well], self._variance[:, well]
            total += log_overlap(
                (m[self._first], m[self._second], m[self._third]),
                (v[self._first], v[self._second], v[self._third]),
            ) + np.log(2 * math.pi * math.e * v[self._first])
        return total


def log_overlap(
    mean: tuple[FloatArray, FloatArray, FloatArray],
    variance: tuple[FloatArray, FloatArray, FloatArray],
) -> FloatArray:
    """log of the integral of the product of three Gaussian densities, elementwise."""
    (a, b, c), (u, v, w) = mean, variance
    area = u * v + v * w + u * w
    apart = w * (a - b) ** 2 + v * (a - c) ** 2 + u * (b - c) ** 2
    return np.asarray(-math.log(2 * math.pi) - 0.5 * np.log(area) - apart / (2 * area))


def _ordered_triples(n: int) -> tuple[IntArray, IntArray, IntArray]:
    first, second, third = (axis.ravel() for axis in np.indices((n, n, n)))
    kept = (first != second) & (first != third) & (second != third)
    return first[kept], second[kept], third[kept]
