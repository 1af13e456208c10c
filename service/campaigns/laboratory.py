"""What the laboratory can do: said with names, kept with ids."""

from __future__ import annotations

from typing import Any

from service.campaigns.schemas import Limits
from service.campaigns.tables import Campaign
from service.kit.names import NameDirectory
from service.kit.problems import FieldError

ELSEWHERE = frozenset({"batch_size", "max_per_compound"})
"""Limits that have columns of their own."""
_FIX = "Add it to the campaign first."


def limits_of(campaign: Campaign) -> Limits:
    """All limits of a campaign, compounds by id."""
    return Limits(
        batch_size=campaign.batch_size,
        max_per_compound=campaign.max_per_compound,
        **(campaign.lab or {}),
    )


def lab_of(
    limits: Limits, compounds: NameDirectory, errors: list[FieldError]
) -> dict[str, Any] | None:
    """What differs from a laboratory without limits, with ids; nothing where nothing does.

    What is wrong with the names is added to ``errors``.
    """
    lab = limits.model_dump(exclude_defaults=True, exclude=set(ELSEWHERE))
    if limits.never_together:
        lab["never_together"] = [
            _group(names, row, compounds, errors) for row, names in enumerate(limits.never_together)
        ]
    if limits.stock:
        lab["stock"] = _stock(limits.stock, compounds, errors)
    return lab or None


def _group(
    names: list[str], row: int, compounds: NameDirectory, errors: list[FieldError]
) -> list[str]:
    pointer = f"/limits/never_together/{row}"
    found: list[str] = []
    for place, name in enumerate(names):
        identifier = compounds.resolve(name)
        if identifier is None:
            message = compounds.unknown(name, _FIX)
            errors.append(_error("unknown_compound", message, f"{pointer}/{place}", row))
        elif identifier in found:
            message = f"{name!r} is named twice; compounds that must not meet are different ones."
            errors.append(_error("same_compound", message, f"{pointer}/{place}", row))
        else:
            found.append(identifier)
    return sorted(found)


def _stock(
    stock: dict[str, int], compounds: NameDirectory, errors: list[FieldError]
) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, blocks in stock.items():
        pointer = f"/limits/stock/{name.replace('~', '~0').replace('/', '~1')}"
        identifier = compounds.resolve(name)
        if identifier is None:
            message = compounds.unknown(name, _FIX)
            errors.append(_error("unknown_compound", message, pointer, None))
        elif identifier in found:
            message = f"The stock of {name!r} is given twice, under two names; keep one."
            errors.append(_error("repeated", message, pointer, None))
        else:
            found[identifier] = blocks
    return found


def _error(code: str, message: str, pointer: str, row: int | None) -> FieldError:
    return FieldError(code=code, message=message, pointer=pointer, row=row)
