"""Pools streamed through a posterior: the sums, the order, the threads."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.acquisition import pool
from models.acquisition.draws import AcquisitionError
from models.acquisition.functions import ACQUISITIONS, AcquisitionContext, thompson, ucb
from models.acquisition.pool import PoolRequest, PoolScores, StudentTable, summarise_pool
from models.bayes.predictive import Noise, probability_below, standard_cdf
from models.screen import Candidates, Stopped
from models.synergy.training import Schedule

COMPOUNDS, LINES, DRAWS = 12, 4, 9
THRESHOLD, DF = 3.0, 5.0


class KnownPosterior:
    """Draws that are a table; ``calls`` notes the sizes and threads of the blocks asked for."""

    model, noise_df, schedule = "known", DF, Schedule(1, 1)

    def __init__(self, m: int, *, ties: bool = False) -> None:
        rng = np.random.default_rng(0)
        self.table = (rng.normal(size=(DRAWS, m)) * 4 + 1).astype(np.float32)
        if ties:
            self.table = np.round(self.table)
        self.scale = (1 + rng.random(m)).astype(np.float32)
        self.calls: list[tuple[int, int]] = []

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        self.calls.append((len(candidates), threading.get_ident()))
        return torch.from_numpy(self.table[:n, self._rows(candidates)])

    def noise_scale(self, candidates: Candidates) -> Tensor:
        return torch.from_numpy(self.scale[self._rows(candidates)])

    def noise_sd(self, candidates: Candidates) -> Tensor:
        return self.noise_scale(candidates) * math.sqrt(DF / (DF - 2))

    def diagnostics(self) -> dict[str, Any]:
        return {}

    def _rows(self, candidates: Candidates) -> np.ndarray:
        return np.searchsorted(KEYS, candidates.keys(COMPOUNDS))


def _everything() -> Candidates:
    first, second = np.triu_indices(COMPOUNDS, k=1)
    lines = np.arange(LINES)
    return Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(lines, len(first))
    )


AT = _everything()
KEYS = np.sort(AT.keys(COMPOUNDS))
M = len(AT)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ELEMENTS_PER_BLOCK", 40 * DRAWS)
    monkeypatch.setattr(pool, "ELEMENTS_PER_THREAD", 50 * DRAWS)
    monkeypatch.setattr(pool, "ELEMENTS_PER_TILE", 16 * DRAWS)


def request(acquisition: str = "hit_probability", top: int = 20, draws: int = DRAWS) -> PoolRequest:
    return PoolRequest(acquisition, THRESHOLD, 1.5, draws, 3, top)


def summarise(posterior: KnownPosterior, asked: PoolRequest, **kwargs: Any) -> PoolScores:
    usable = kwargs.pop("usable", np.ones(M, bool))
    return summarise_pool(posterior, AT, usable, asked, **kwargs)


@pytest.mark.parametrize("threads", [1, 3])
def test_summaries_are_those_of_the_whole_matrix(threads: int) -> None:
    posterior = KnownPosterior(M)
    draws = posterior.table[:, np.searchsorted(KEYS, AT.keys(COMPOUNDS))].astype(np.float64)
    noise = Noise(posterior.noise_scale(AT).numpy().astype(np.float64), DF)
    found = summarise(posterior, request("ucb"), threads=threads)
    assert found.mean == pytest.approx(draws.mean(0), abs=2e-6)
    assert found.epistemic_sd == pytest.approx(draws.std(0, ddof=1), rel=1e-6)
    assert found.observation_sd == pytest.approx(noise.sd())
    assert found.acquisition == pytest.approx(ucb(draws, 1.5), rel=1e-5, abs=1e-5)
    chance = 1 - probability_below(draws, THRESHOLD, noise)
    assert np.abs(found.hit_probability - chance).max() < 1e-6


def test_acquisitions_that_follow_from_the_moments() -> None:
    found = summarise(KnownPosterior(M), request("greedy"))
    assert np.array_equal(found.acquisition, found.mean)
    found = summarise(KnownPosterior(M), request("hit_probability"))
    assert np.array_equal(found.acquisition, found.hit_probability)
    uniform = summarise(KnownPosterior(M), request("random")).acquisition
    assert len(np.unique(uniform)) == M


def test_threads_change_nothing_and_blocks_are_bounded() -> None:
    posterior = KnownPosterior(M)
    alone = summarise(posterior, request("thompson"), threads=1)
    assert max(size for size, _ in posterior.calls) <= 40
    assert {thread for _, thread in posterior.calls} == {threading.get_ident()}
    posterior.calls.clear()
    together = summarise(posterior, request("thompson"), threads=2)
    assert max(size for size, _ in posterior.calls) <= 40
    assert len({thread for _, thread in posterior.calls}) >= 2
    assert np.array_equal(alone.acquisition, together.acquisition)
    for name in ("mean", "epistemic_sd", "hit_probability"):
        assert np.array_equal(getattr(alone, name), getattr(together, name))


@pytest.mark.parametrize("ties", [False, True])
def test_thompson_is_that_of_the_whole_pool(ties: bool) -> None:
    """Ties go to the earlier candidate although blocks come in another order."""
    posterior = KnownPosterior(M, ties=ties)
    draws = posterior.table[:, np.searchsorted(KEYS, AT.keys(COMPOUNDS))]
    whole = thompson(draws)
    found = summarise(posterior, request("thompson", top=M), threads=2).acquisition
    assert np.array_equal(found, whole)
    few = summarise(posterior, request("thompson", top=5)).acquisition
    order = np.argsort(-few, kind="stable")[: 5 * 2]
    assert np.array_equal(order, np.argsort(-whole, kind="stable")[: 5 * 2])


def test_thompson_names_usable_candidates_only() -> None:
    usable = np.random.default_rng(1).random(M) < 0.5
    found = summarise(KnownPosterior(M), request("thompson"), usable=usable).acquisition
    lowest = -float(DRAWS * 21)
    assert np.all(found[~usable] == lowest)
    assert (found[usable] > lowest).any()


@pytest.mark.parametrize("df", [2.0001, 2.3, 3.0, 3.2, 3.7, 5.0, 7.0, 12.5, 100.0, 1e4, math.inf])
def test_the_table_of_students_t_is_exact_to_a_millionth(df: float) -> None:
    near = np.linspace(-12, 12, 200_001)
    far = np.geomspace(1, 1e6, 20_000)
    z = np.concatenate([near, far, -far, [0.0]]).astype(np.float32)
    found = StudentTable(df)(torch.from_numpy(z.copy())).numpy()
    assert np.abs(found - standard_cdf(z.astype(np.float64), df)).max() < 1e-6


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["hit_probability", "pdbal"])
def test_stop_is_heeded(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws are slow here, so that a thread on a busy machine has the time to look."""
    posterior = KnownPosterior(M)
    quick = posterior.draws

    def slow(candidates: Candidates, n: int, seed: int) -> Tensor:
        time.sleep(0.05)
        return quick(candidates, n, seed)

    monkeypatch.setattr(posterior, "draws", slow)
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.002)
    with pytest.raises(Stopped):
        summarise(
            posterior, request(name), threads=threads, should_stop=lambda: len(posterior.calls) >= 2
        )
    assert len(posterior.calls) < M // 40


@pytest.mark.parametrize("threads", [1, 2])
def test_draws_that_are_not_finite_are_refused(threads: int) -> None:
    for broken in (np.nan, np.inf):
        posterior = KnownPosterior(M)
        posterior.table[3, M - 1] = broken
        with pytest.raises(AcquisitionError, match="NaN or infinity"):
            summarise(posterior, request(), threads=threads)
    with pytest.raises(AcquisitionError, match="need 2"):
        summarise(KnownPosterior(M), request(draws=1))
    with pytest.raises(AcquisitionError, match="kappa"):
        summarise(KnownPosterior(M), PoolRequest("ucb", 0.0, -1.0, DRAWS, 0, 5))
    silent = KnownPosterior(M)
    silent.scale[:] = 0
    with pytest.raises(AcquisitionError, match="positive"):
        summarise(silent, request())


def test_progress_comes_from_the_callers_thread() -> None:
    heard: list[tuple[str, int, int, int]] = []
    summarise(
        KnownPosterior(M),
        request(),
        threads=2,
        on_progress=lambda *what: heard.append((*what, threading.get_ident())),
    )
    assert {entry[3] for entry in heard} == {threading.get_ident()}
    done = [entry[1] for entry in heard]
    assert done == sorted(done)
    assert {(entry[0], entry[2]) for entry in heard} == {("scoring", M)}


WHOLE = [n for n in ACQUISITIONS if n not in ("random", "thompson")]


def whole_values(posterior: KnownPosterior, name: str, usable: np.ndarray) -> np.ndarray:
    """The acquisition of all candidates at once, what it asks of the pool from the usable ones."""
    draws = posterior.table[:, np.searchsorted(KEYS, AT.keys(COMPOUNDS))].astype(np.float64)
    hits = draws[:, usable] > THRESHOLD
    context = AcquisitionContext(
        threshold=THRESHOLD,
        kappa=1.5,
        noise=Noise(posterior.noise_scale(AT).numpy().astype(np.float64), DF),
        incumbent=2.0,
        xi=0.25,
        top_k=7,
        hits=hits.sum(axis=1).astype(np.float64),
        distance=(hits[:, None] != hits[None]).mean(axis=2),
    )
    if name == "top_k":
        values = np.zeros(M)
        values[usable] = ACQUISITIONS[name](draws[:, usable], context)
        return values
    return ACQUISITIONS[name](draws, context)


@pytest.mark.parametrize("name", WHOLE)
def test_every_acquisition_is_that_of_the_whole_pool(name: str) -> None:
    """In blocks, in another order, on any number of threads, and the same to the bit."""
    usable = np.random.default_rng(2).random(M) < 0.7
    posterior = KnownPosterior(M, ties=name == "top_k")
    asked = replace(request(name), incumbent=2.0, xi=0.25, top_k=7)
    found = [
        summarise(posterior, asked, usable=usable, threads=threads).acquisition
        for threads in (1, 3)
    ]
    assert np.array_equal(found[0], found[1])
    assert found[0] == pytest.approx(whole_values(posterior, name, usable), rel=1e-5, abs=1e-5)
    assert max(size for size, _ in posterior.calls) <= 50


def test_pdbal_looks_at_some_worlds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PDBAL_WORLDS", 5)
    posterior = KnownPosterior(M)
    found = summarise(posterior, request("pdbal")).acquisition
    fewer = KnownPosterior(M)
    assert np.array_equal(found, summarise(fewer, request("pdbal", draws=5)).acquisition)


@pytest.mark.parametrize("name", ["hit_information", "pdbal"])
def test_two_passes_count_on(name: str) -> None:
    done: list[tuple[int, int]] = []
    summarise(
        KnownPosterior(M), request(name), on_progress=lambda _, at, total: done.append((at, total))
    )
    assert [at for at, _ in done] == sorted(at for at, _ in done)
    assert {total for _, total in done} == {2 * M}
    assert done[-1][0] > M
    posterior = KnownPosterior(M)
    posterior.table[3, M - 1] = np.nan
    with pytest.raises(AcquisitionError, match="NaN or infinity"):
        summarise(posterior, request(name))


def test_nothing_to_find_out_is_worth_nothing() -> None:
    for name in ("hit_information", "pdbal"):
        asked = replace(request(name), threshold=1e6)
        assert not summarise(KnownPosterior(M), asked).acquisition.any()


def test_requests_that_lack_a_part_are_refused() -> None:
    for wrong, word in (
        (request("expected_improvement"), "incumbent"),
        (replace(request("expected_improvement"), incumbent=1.0, xi=-1.0), "xi"),
        (replace(request("top_k"), top_k=0), "at least 1"),
        (request("pdbal", draws=2), "need 3"),
    ):
        with pytest.raises(AcquisitionError, match=word):
            summarise(KnownPosterior(M), wrong)


def test_an_empty_pool_has_no_scores() -> None:
    nothing = summarise_pool(KnownPosterior(M), Candidates.empty(), np.ones(0, bool), request())
    assert len(nothing.mean) == 0


def test_large_pools_get_several_threads_small_ones_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_cores", lambda: 2)
    small, large = KnownPosterior(M), KnownPosterior(M)
    summarise(small, request())
    monkeypatch.setattr(pool, "SEVERAL_THREADS_FROM", M * DRAWS)
    summarise(large, request())
    assert len({thread for _, thread in small.calls}) == 1
    assert len({thread for _, thread in large.calls}) >= 2
    assert max(size for size, _ in small.calls) == 40
    assert max(size for size, _ in large.calls) == 50
    assert 1 <= pool._cores() <= pool.MOST_THREADS


@pytest.mark.parametrize("explorer", ["thompson", "top_k", "random", "ucb", "pdbal"])
def test_an_explorer_is_valued_in_the_same_pass(explorer: str) -> None:
    posterior, usable = KnownPosterior(M), np.arange(M) % 5 != 0
    both = summarise(posterior, replace(request("thompson"), explorer=explorer), usable=usable)
    calls = len(posterior.calls)
    for name, values in (("thompson", both.acquisition), (explorer, both.exploring)):
        posterior.calls.clear()
        alone = summarise(posterior, request(name), usable=usable)
        assert np.array_equal(values, alone.acquisition)
        assert alone.exploring is None
    if explorer != "pdbal":
        assert calls == len(posterior.calls)
    with pytest.raises(AcquisitionError, match="need 3"):
        summarise(posterior, replace(request(draws=2), explorer="pdbal"))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_watcher_meets_every_usable_candidate_once(threads: int) -> None:
    posterior, usable = KnownPosterior(M), np.arange(M) % 5 != 0
    met: list[tuple[np.ndarray, Tensor, Noise]] = []
    summarise(
        posterior,
        request(),
        usable=usable,
        threads=threads,
        watch=lambda *what: met.append(what),
    )
    rows = np.concatenate([part[0] for part in met])
    assert np.array_equal(np.sort(rows), np.flatnonzero(usable))
    at = AT.select(rows)
    seen = torch.cat([part[1] for part in met], dim=1)
    assert torch.equal(seen, posterior.draws(at, DRAWS, 3))
    scale = np.concatenate([part[2].scale for part in met])
    assert np.array_equal(scale, posterior.noise_scale(at).numpy().astype(np.float64))
