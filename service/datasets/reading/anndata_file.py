"""AnnData (``.h5ad``): samples or cells in rows, genes in columns, streamed from disk.

A long file of cells is not taken whole: what is kept is a bounded number of cells of every
treatment, drawn by a fixed seed, at the genes that vary most and every gene that is perturbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.chemistry.names import fold_name
from models.perturbation.data import Kind, ResponseTable
from models.screen import FloatArray, IntArray, ScreenError
from service.assays.files_in.problems import FileError, shorten
from service.datasets.reading.found import Found
from service.datasets.reading.responses_table import condition_names, dose_matrix
from service.datasets.reading.treatments import Perturbations, Treatment, read_treatment

NAME = "AnnData"
_TREATMENTS = ("treatment", "perturbation", "perturbations", "condition", "gene", "guide_identity")
_BATCHES = ("batch", "gem_group", "plate")
_CHUNK = 2_000


@dataclass(frozen=True)
class Kept:
    """How much of a long file is kept."""

    rows: int = 20_000
    genes: int = 2_000
    seed: int = 0


@dataclass(frozen=True)
class Asked:
    """Which columns of ``obs`` to read; None: the first of the usual names that is there."""

    treatment: str | None = None
    batch: str | None = None
    joined_by: str | None = None


def read_anndata(path: Path, kind: Kind, asked: Asked, kept: Kept | None = None) -> Found:
    """The table in an ``.h5ad`` file. Raises :class:`FileError`."""
    import anndata  # slow to import, and only workers need it

    kept = kept or Kept()
    try:
        data = anndata.read_h5ad(path, backed="r")
    except Exception as error:
        message = f"anndata cannot read it ({type(error).__name__}: {error})"[:300]
        raise FileError(NAME, None, message, "write it again with AnnData.write_h5ad") from None
    try:
        return _read(data, kind, asked, kept)
    finally:
        data.file.close()


def _read(data: Any, kind: Kind, asked: Asked, kept: Kept) -> Found:
    if data.n_obs == 0 or data.n_vars == 0:
        raise FileError(NAME, None, "there are no samples or no genes", "send the filled matrix")
    treatments = _treatments(data, asked)
    perturbations = Perturbations.of(treatments)
    if not perturbations.names:
        message = "no sample names a perturbation: all are controls"
        raise FileError(NAME, None, message, "say which column of obs holds the treatment")
    genes = _names(data.var_names, "gene")
    rows = _chosen_rows(treatments, kept)
    columns = _chosen_genes(data, kind, genes, perturbations, kept)
    values = np.full((len(rows), len(columns)), np.nan)
    library = np.zeros(len(rows))
    for start, block in _blocks(data, rows):
        values[start : start + len(block)] = block[:, columns]
        library[start : start + len(block)] = block.sum(axis=1)
    batch = _column(data, asked.batch, _BATCHES, "batch") if _has_batch(data, asked) else None
    chosen = [treatments[row] for row in rows]
    try:
        table = ResponseTable.of(
            perturbations=perturbations.names,
            readouts=[genes[column] for column in columns],
            conditions=condition_names([""] * len(rows), chosen),
            doses=dose_matrix(perturbations, chosen),
            values=values,
            kind=kind,
            batch=[] if batch is None else [str(batch[row]) for row in rows],
        )
    except ScreenError as error:
        raise FileError(NAME, None, str(error), "correct the file or the declared kind") from None
    notes = tuple(_notes(data, rows, columns, kept))
    return Found(table, perturbations.units, notes, library if kind == "counts" else None)


def _notes(data: Any, rows: IntArray, columns: IntArray, kept: Kept) -> Iterator[str]:
    if len(rows) < data.n_obs:
        yield (
            f"kept {len(rows):,} of {data.n_obs:,} samples: of every treatment equally many, "
            f"drawn by seed {kept.seed}"
        )
    if len(columns) < data.n_vars:
        yield f"kept {len(columns):,} of {data.n_vars:,} genes: perturbed ones and the most varying"


def _treatments(data: Any, asked: Asked) -> list[Treatment]:
    column = _column(data, asked.treatment, _TREATMENTS, "treatment")
    known: dict[str, Treatment] = {}
    found = []
    for row, cell in enumerate(column):
        text = "" if cell is None or cell != cell else str(cell)  # NaN is a missing text
        if text not in known:
            try:
                known[text] = read_treatment(text, asked.joined_by)
            except ValueError as error:
                what = f"sample {row} ({shorten(text)}): {error}"
                raise FileError(NAME, None, what, "correct the column of treatments") from None
        found.append(known[text])
    return found


def _has_batch(data: Any, asked: Asked) -> bool:
    return asked.batch is not None or any(name in data.obs.columns for name in _BATCHES)


def _column(data: Any, asked: str | None, usual: tuple[str, ...], what: str) -> list[Any]:
    names = list(data.obs.columns)
    name = asked if asked is not None else next((n for n in usual if n in names), None)
    if name is None or name not in names:
        known = ", ".join(map(str, names[:20])) or "none"
        message = f"obs has no column {asked!r}" if asked else f"obs has no column of the {what}"
        raise FileError(NAME, None, f"{message}; there are: {known}", f"name it as {what}_column")
    return list(data.obs[name])


def _names(index: Any, what: str) -> list[str]:
    names = [str(name).strip() for name in index]
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            problem = f"{shorten(name)} is listed twice" if name else "one has no name"
            fix = "call AnnData.var_names_make_unique, or correct the names"
            raise FileError(NAME, None, f"of the {what}s {problem}", fix)
        seen.add(name)
    return names


def _chosen_rows(treatments: list[Treatment], kept: Kept) -> IntArray:
    if len(treatments) <= kept.rows:
        return np.arange(len(treatments))
    groups: dict[Treatment, list[int]] = {}
    for row, treatment in enumerate(treatments):
        groups.setdefault(treatment, []).append(row)
    share = max(1, kept.rows // len(groups))
    generator = np.random.default_rng(kept.seed)
    chosen = [
        generator.choice(rows, min(share, len(rows)), replace=False) for rows in groups.values()
    ]
    return np.sort(np.concatenate(chosen))


def _chosen_genes(
    data: Any, kind: Kind, genes: list[str], perturbations: Perturbations, kept: Kept
) -> IntArray:
    if len(genes) <= kept.genes:
        return np.arange(len(genes))
    count, mean, spread = 0, np.zeros(len(genes)), np.zeros(len(genes))
    for _, block in _blocks(data, np.arange(data.n_obs)):
        scaled = np.log1p(np.maximum(block, 0.0)) if kind == "counts" else block
        total = count + len(scaled)
        away = scaled.mean(axis=0) - mean
        spread += scaled.var(axis=0) * len(scaled) + away**2 * count * len(scaled) / total
        mean += away * len(scaled) / total
        count = total
    perturbed = {fold_name(name) for name in perturbations.names}
    must = np.array([fold_name(gene) in perturbed for gene in genes])
    order = np.lexsort((np.arange(len(genes)), -np.nan_to_num(spread), ~must))
    return np.sort(order[: max(kept.genes, int(must.sum()))])


def _blocks(data: Any, rows: IntArray) -> Iterator[tuple[int, FloatArray]]:
    """``(where it starts, dense rows)``, never the whole matrix."""
    for start in range(0, len(rows), _CHUNK):
        block = data.X[rows[start : start + _CHUNK]]
        dense = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        yield start, dense.astype(np.float64)
