"""Which model a campaign should use, by held-out evidence, with the reason in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from models.bayes.forecast import number
from models.bayes.stacking import stack
from models.screen import FloatArray, ScreenError
from models.synergy.evidence import Evidence


def choose_model(evidence: Mapping[str, Evidence]) -> tuple[str, str]:
    """The name of the model to use, and why.

    ``evidence``: by name, simplest and cheapest model first, all measured with one seed on the same
    blocks. The rule is one standard error (Breiman et al. 1984, section 3.4.3) on the held-out log
    density: of all models whose paired difference to the best one is within one standard error
    of that difference, the first. The order is the caller's, not the clock's: the same
    measurements always choose the same model. A model whose log density is not finite is never
    chosen. Raises :class:`ScreenError` where nothing can be compared.
    """
    usable = {name: e for name, e in evidence.items() if np.all(np.isfinite(e.log_density))}
    if not usable:
        raise ScreenError("no model gave the held-out blocks a finite density: none can be chosen")
    if len({len(e.log_density) for e in usable.values()}) > 1:
        raise ScreenError("evidence from different held-out blocks cannot be compared")
    best = max(usable, key=lambda name: float(usable[name].log_density.mean()))
    gains = {
        name: paired_difference(usable[best].log_density, e.log_density)
        for name, e in usable.items()
    }
    chosen = next(name for name, (mean, error) in gains.items() if mean <= error or name == best)
    return chosen, _reason(chosen, best, usable, gains)


def describe_choice(evidence: Mapping[str, Evidence]) -> dict[str, Any]:
    """The choice as a campaign stores it, JSON-able: ``chosen`` and ``reason`` of
    :func:`choose_model`, every ``considered`` model's numbers with what it lies behind the chosen
    one in log density (``behind`` and its paired standard error), and ``stacking``: the weights
    that a mixture of the considered models would give them."""
    chosen, reason = choose_model(evidence)
    reference = evidence[chosen].log_density
    considered, usable = {}, {}
    for name, found in evidence.items():
        finite = bool(np.all(np.isfinite(found.log_density)))
        behind = paired_difference(reference, found.log_density) if finite else (None, None)
        considered[name] = {
            **{key: found.report["model"].get(key) for key in ("elpd", "rmse", "pearson")},
            "coverage": found.report["model"]["coverage"],
            "behind": number(behind[0]),
            "standard_error": number(behind[1]),
        }
        if finite:
            usable[name] = found.log_density
    weights = stack(np.stack(list(usable.values()))).weights
    return {
        "chosen": chosen,
        "reason": reason,
        "considered": considered,
        "stacking": {name: number(float(w)) for name, w in zip(usable, weights, strict=True)},
    }


def paired_difference(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """Mean of ``first - second`` over blocks and its standard error (infinite for one block)."""
    difference = first - second
    if len(difference) < 2:
        return float(difference.mean()), math.inf
    return float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))


def _reason(
    chosen: str,
    best: str,
    usable: Mapping[str, Evidence],
    gains: Mapping[str, tuple[float, float]],
) -> str:
    own = usable[chosen].report
    n, density = len(usable[chosen].log_density), _elpd(usable[chosen])
    head = f"{chosen}: log density {density:.3f} nats a block on {n} held-out blocks"
    if len(usable) == 1:
        compared = "the only model that was tried"
    elif chosen == best:
        others = [
            f"{name} {_elpd(e):.3f} ({gains[name][0]:.3f} +- {gains[name][1]:.3f} less)"
            for name, e in usable.items()
            if name != best
        ]
        compared = f"the best of {len(usable)}, against {', '.join(others)}"
    else:
        behind, error = gains[chosen]
        compared = (
            f"the simplest of {len(usable)} models within one standard error of the best, {best} "
            f"with {_elpd(usable[best]):.3f} ({behind:.3f} +- {error:.3f} more)"
        )
    return f"{head}, {compared}; {_against_additive(own)}."


def _against_additive(report: Mapping[str, Any]) -> str:
    """The additive baseline, and whether the model is worth having at all."""
    baselines, model = report["baselines"], report["model"]
    floor, held = baselines["additive"]["elpd"], model["coverage"]["90"]
    words = f"the additive baseline has {floor:.3f}" if floor is not None else "no baseline"
    if floor is not None and model["elpd"] is not None and model["elpd"] <= floor:
        words += ", which the model does not beat yet"
    return words if held is None else f"{words}; 90 % intervals hold {100 * held:.0f} %"


def _elpd(evidence: Evidence) -> float:
    return float(evidence.log_density.mean())
