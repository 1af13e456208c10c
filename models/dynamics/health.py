"""How healthy a fit to time courses is: channels of its encoder, what it could have memorised."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.bayes.memorisation import describe_memory
from models.dynamics.inference import Fit
from models.dynamics.series import TimeCourses

WHY_NOT_PROBED = (
    "Permuted labels were not tried: a fit takes minutes, and series that it did not see judge it."
)


def describe_fit_health(fit: Fit, series: TimeCourses) -> dict[str, Any]:
    """JSON-able: ``channels`` (:meth:`models.bayes.channel_health.ChannelHealth.report`) of the
    encoder; ``memorisation`` (:func:`models.bayes.memorisation.describe_memory`) of the series,
    whose inputs are the features that the encoder reads and whose labels are all readings, missing
    ones at the mean of their channel and time; ``warnings``: sentences, none where all is well."""
    channels = fit.health.report()
    values = series.values.reshape(len(series), -1)
    seen = np.isfinite(values)
    mean = np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    memory = describe_memory(
        fit.model.features.of(series),
        np.where(seen, values, mean),
        sum(weights.numel() for weights in fit.model.parameters()),
        why_not_probed=WHY_NOT_PROBED,
        counted="weights of the system, of the shared unknowns and of the encoder",
    )
    warnings = [str(channels["words"])] if channels["alert"] else []
    return {"channels": channels, "memorisation": memory, "warnings": warnings}
