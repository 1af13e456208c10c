"""Pass, warn or fail, with the reasons in words and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from models.quality.flags import Proposals, ProposedFlag, propose_flags
from models.quality.limits import HIGHER_IS_WORSE, Limit, QcLimits
from models.quality.metrics import Figure, PlateMetrics, measure_plate
from models.quality.normalise import Normalised, plate_effect
from models.quality.plate import PlateReadings
from models.quality.position_tests import PositionEffect
from models.screen import FloatArray, ScreenError

LEVELS = ("pass", "note", "warn", "fail")
"""From best to worst. A note never lowers a verdict."""


@dataclass(frozen=True)
class Finding:
    """One reason: its ``level`` ("note", "warn" or "fail"), the ``metric``, ``words`` for people,
    and the numbers compared, None where the figure is undefined."""

    level: str
    metric: str
    words: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Verdict:
    """``level``: "pass", "warn" or "fail", the worst of the ``findings``, which run from worst."""

    level: str
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The words of what warned or failed."""
        return tuple(f.words for f in self.findings if f.level != "note")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, words and None only."""
        return asdict(self)


@dataclass(frozen=True)
class PlateQuality:
    """All that quality control says of a plate. ``viability``: the plate under the rule
    "plate-effect/1", None where the verdict says why it cannot be normalised."""

    metrics: PlateMetrics
    verdict: Verdict
    flags: tuple[ProposedFlag, ...]
    viability: Normalised | None


def check_plate(
    plate: PlateReadings, limits: QcLimits | None = None, history: FloatArray | None = None
) -> PlateQuality:
    """Figures, verdict and proposed flags of ``plate``. ``history`` as in :func:`measure_plate`."""
    limits = limits or QcLimits()
    metrics = measure_plate(plate, history)
    findings = list(judge(metrics, limits).findings)
    viability: Normalised | None = None
    proposals = Proposals((), 0)
    try:
        viability = plate_effect(plate)
        proposals = propose_flags(plate, viability)
    except ScreenError as error:
        findings.append(Finding("fail", "normalisation", f"cannot be normalised: {error}"))
    findings += _outliers(proposals, limits)
    return PlateQuality(metrics, _verdict(findings), proposals.flags, viability)


def _outliers(proposals: Proposals, limits: QcLimits) -> list[Finding]:
    flags, compared = proposals.flags, proposals.compared
    if not flags:
        return []
    note = Finding("note", "flags", f"{len(flags)} of {compared} compared wells are proposed")
    if proposals.wrong < 2:
        return [note]
    share = Figure(proposals.wrong / compared)
    found = _compare("outliers", NAMES["outliers"], share, limits)
    return [note] if found is None else [found, note]


def judge(metrics: PlateMetrics, limits: QcLimits) -> Verdict:
    """The verdict of ``limits`` on ``metrics``."""
    size = metrics.robust_ssmd.value
    figures = {
        "robust_z_prime": metrics.robust_z_prime,
        "robust_ssmd": Figure(None if size is None else abs(size), metrics.robust_ssmd.reason),
        "signal_to_background": metrics.signal_to_background,
        "robust_cv_vehicle": metrics.robust_cv_vehicle,
        "replicate_sd": metrics.replicate_sd,
        "missing": metrics.missing,
        "vehicle_wells": Figure(float(metrics.wells["vehicle"])),
    }
    findings = [_compare(name, NAMES[name], figures[name], limits) for name in figures]
    for field, kind in POSITIONS.items():
        findings.append(_position(field, kind, getattr(metrics, field), limits))
    findings.append(_drift(metrics, limits))
    return _verdict([finding for finding in findings if finding is not None])


NAMES = {
    "robust_z_prime": "robust Z'",
    "robust_ssmd": "size of robust SSMD",
    "signal_to_background": "signal over background",
    "robust_cv_vehicle": "robust coefficient of variation of the vehicle wells",
    "replicate_sd": "scatter of replicates, in viability",
    "missing": "share of wells without a reading",
    "vehicle_wells": "number of usable vehicle wells",
    "edge_controls": "vehicle wells at the edge against the interior, relative change",
    "edge_replicates": "replicates at the edge against the interior, relative change",
    "row_trend": "trend over the rows, relative change",
    "column_trend": "trend over the columns, relative change",
    "outliers": "share of compared wells that look wrong",
    "drift": "reference pair against earlier plates, change of viability",
}
"""What each judged figure is called in a reason."""

POSITIONS = {
    "edge_controls": "edge",
    "edge_replicates": "edge",
    "row_trend": "trend",
    "column_trend": "trend",
}
"""Position effects of :class:`PlateMetrics` and the limit that each is held against."""


def _verdict(findings: list[Finding]) -> Verdict:
    ordered = sorted(findings, key=lambda finding: -LEVELS.index(finding.level))
    worst = ordered[0].level if ordered else "pass"
    return Verdict("pass" if worst == "note" else worst, tuple(ordered))


def _compare(
    metric: str, name: str, figure: Figure, limits: QcLimits, kind: str = "", more: str = ""
) -> Finding | None:
    """What one figure says against its limits; None where it is within them."""
    limit: Limit = getattr(limits, kind or metric)
    if figure.value is None:
        return Finding("note", metric, f"{name}: not known, {figure.reason}")
    sign = 1.0 if HIGHER_IS_WORSE[kind or metric] else -1.0
    for level, bound in (("fail", limit.fail), ("warn", limit.warn)):
        if bound is not None and sign * figure.value > sign * bound:
            side = "above" if sign > 0 else "below"
            words = f"{name}: {figure.value:.3g} is {side} {bound:g}{more}"
            return Finding(level, metric, words, figure.value, bound)
    return None


def _position(field: str, kind: str, effect: PositionEffect, limits: QcLimits) -> Finding | None:
    if effect.ratio is None or effect.p_value is None:
        return Finding("note", field, f"{NAMES[field]}: not known, {effect.reason}")
    if effect.p_value >= limits.p_value:
        return None
    change = Figure(abs(effect.ratio - 1.0))
    more = f" (ratio {effect.ratio:.3g}, p = {effect.p_value:.1g})"
    return _compare(field, NAMES[field], change, limits, kind, more)


def _drift(metrics: PlateMetrics, limits: QcLimits) -> Finding | None:
    drift = metrics.drift
    if drift.now is None or drift.expected is None or drift.p_value is None:
        return Finding("note", "drift", f"{NAMES['drift']}: not known, {drift.reason}")
    if drift.p_value >= limits.p_value:
        return None
    change = Figure(abs(drift.now - drift.expected))
    more = f" ({drift.now:.3f}, before {drift.expected:.3f}, p = {drift.p_value:.1g})"
    return _compare("drift", NAMES["drift"], change, limits, more=more)
