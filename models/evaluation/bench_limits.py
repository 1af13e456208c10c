"""The limits of a laboratory, said of a campaign that goes on, for rounds that are replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.acquisition.lab_rules import LabRules
from models.screen import ScreenError


def bench_rules(limits: Mapping[str, Any], ids: Sequence[str], batch: int) -> LabRules:
    """``limits`` by the names of :class:`models.acquisition.lab_rules.LabRules`, compounds by id,
    for batches of ``batch`` blocks; compounds then by row of ``ids``.

    A compound that is not in the screen any more is in no block either, so that what is said of
    it binds nothing. Stock is what each batch may use, as in a round of the campaign. Raises
    :class:`ScreenError` that names the limit where rounds of so many blocks cannot be replayed.
    """
    row = {identifier: number for number, identifier in enumerate(ids)}
    plain = dict(limits)
    groups = (
        [row[one] for one in group if one in row] for group in limits.get("never_together", ())
    )
    plain["never_together"] = [group for group in groups if len(group) > 1]
    if "stock" in limits:
        plain["stock"] = {row[one]: n for one, n in limits["stock"].items() if one in row}
    rules = LabRules.from_dict(plain)
    capacity = rules.plate_capacity
    if rules.plates is not None and capacity is not None and rules.plates * capacity < batch:
        raise ScreenError(
            f"rounds of {batch} blocks cannot be replayed: by the campaign's limits, plates "
            f"({rules.plates}) of {capacity} blocks each, a round holds {rules.plates * capacity}. "
            f"Ask for a smaller batch"
        )
    if rules.has_plates and rules.plates is None and capacity is None:
        raise ScreenError(
            "rounds cannot be replayed: the campaign's limits speak of plates, but neither plates "
            "nor blocks_per_plate nor wells_per_plate says how many blocks they hold"
        )
    return replace(rules, batch_size=batch)
