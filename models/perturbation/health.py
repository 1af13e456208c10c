"""How healthy a fit to responses is: what it could have memorised, and its networks' channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models.bayes.memorisation import (
    FEWEST_PROBED,
    Probe,
    describe_memory,
    probe,
    probe_rows,
    r_squared,
)
from models.bayes.training import NonFiniteLossError
from models.perturbation.data import ResponseTable
from models.perturbation.protocol import ResponseModel, ResponsePosterior
from models.screen import (
    FloatArray,
    IntArray,
    ProgressCallback,
    ScreenError,
    StopCallback,
    never_stop,
    no_progress,
)

COUNTED = "all numbers that the fit stores, those of its components among them"


def describe_response_health(
    model: ResponseModel,
    posterior: ResponsePosterior,
    table: ResponseTable,
    seed: int,
    *,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> dict[str, Any]:
    """JSON-able report on ``posterior``, a fit of ``model`` to complete ``table``.

    ``channels``: :meth:`models.bayes.channel_health.ChannelHealth.report`, null without a network;
    ``memorisation``: :func:`models.bayes.memorisation.describe_memory` of the treated conditions,
    inputs being their doses by the largest of each perturbation, with one more fit in which the
    conditions have each other's responses; ``warnings``: sentences, none where all is well.
    Raises ``Stopped``.
    """
    treated = table.select(~table.is_control & ~table.low_quality)
    controls = table.select(table.is_control)
    x = treated.doses / np.maximum(table.doses.max(axis=0), 1e-300)

    def refit(rows: IntArray, labels_of: IntArray) -> FloatArray:
        permuted = _joined(controls, treated, rows, labels_of)
        fitted = model.fit(
            permuted,
            seed=seed,
            on_progress=lambda _, done, total: on_progress("permuted labels", done, total),
            should_stop=should_stop,
        )
        return fitted.mean(treated.doses[rows])

    probed, why_not = _probe(treated, posterior, refit, seed)
    stored = sum(tensor.numel() for tensor in posterior.save()[0].values())
    channels = getattr(posterior, "channels", None)
    memory = describe_memory(
        x, treated.values, stored, probed=probed, why_not_probed=why_not, counted=COUNTED
    )
    warnings = [str(channels["words"])] if channels is not None and channels["alert"] else []
    return {"channels": channels, "memorisation": memory, "warnings": warnings}


def _probe(
    treated: ResponseTable, posterior: ResponsePosterior, refit: Any, seed: int
) -> tuple[Probe | None, str]:
    """The permutation probe, or why there is none."""
    try:
        found = probe(treated.values, refit, seed)
    except (ScreenError, NonFiniteLossError) as error:
        return None, f"Permuted labels could not be fitted: {error}."
    if found is None:
        return None, f"No permuted labels: fewer than {FEWEST_PROBED} conditions."
    rows, _ = probe_rows(len(treated), seed)
    explained = r_squared(treated.values[rows], posterior.mean(treated.doses[rows]))
    return replace(found, fitted=explained), ""


def _joined(
    controls: ResponseTable, treated: ResponseTable, rows: IntArray, labels_of: IntArray
) -> ResponseTable:
    """Controls as they are, conditions ``rows`` with the responses of ``labels_of``."""
    some = treated.select(rows)
    values = treated.values[labels_of]
    batch = (*controls.batch, *some.batch) if treated.batch else ()
    return ResponseTable.of(
        perturbations=treated.perturbations,
        readouts=treated.readouts,
        conditions=(*controls.conditions, *some.conditions),
        doses=np.concatenate([controls.doses, some.doses]),
        values=np.concatenate([controls.values, values]),
        kind=treated.kind,
        batch=batch,
    )
