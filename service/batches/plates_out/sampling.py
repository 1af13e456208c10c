"""How the blocks of a batch are measured: which of their wells, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.batches.plates_out.schemas import PlatesIn
from service.batches.tables import BatchItem
from service.campaigns.schemas import Limits
from service.kit.problems import FieldError, Invalid
from service.kit.unit import Unit
from service.surfaces.repository import SurfaceFitRepository
from service.surfaces.tables import SurfaceFit
from service.surfaces.templates import At, InformedBlocks

_SHOWN = 20


@dataclass(frozen=True)
class Sample:
    """The shape of all blocks, their replicates, and of informed ones the wells by item."""

    shape: str
    replicates: int
    block_wells: int | None = None
    surface_fit_id: str | None = None
    wells: Mapping[str, tuple[At, ...]] = field(default_factory=dict)

    @property
    def informed(self) -> bool:
        """Whether surfaces say which wells are measured."""
        return self.shape == "informed"


def sample_of(asked: PlatesIn, limits: Limits, items: Sequence[BatchItem]) -> Sample:
    """The shape of a block and its replicates, as asked or as the campaign's limits say."""
    several = any(len(item.doses_a_um) > 1 or len(item.doses_b_um) > 1 for item in items)
    shape = asked.block_shape or limits.block_shape
    if asked.block_shape is None and shape == "single" and several:
        shape = "matrix"
    replicates = asked.replicates or limits.replicates
    if shape != "informed":
        for name in ("block_wells", "surface_fit_id"):
            if getattr(asked, name) is not None:
                message = f"The {name} is of informed blocks; these are {shape} ones. Leave it out."
                raise _invalid("block_shape", message, f"/{name}")
        return Sample(shape, replicates)
    wells = asked.block_wells or limits.block_wells
    if wells is None:
        message = "Say how many wells an informed block has; the campaign's limits do not."
        raise _invalid("missing", message, "/block_wells")
    return Sample(shape, replicates, wells)


def miscounted(
    asked: PlatesIn, limits: Limits, items: Sequence[BatchItem], names: Mapping[str, str]
) -> list[FieldError]:
    """Where the limits count other doses of a block than there are, plates would not fit."""
    if asked.block_shape is not None or limits.block_shape == "single":
        return []
    for item in items:
        for compound, doses in (
            (item.compound_a_id, item.doses_a_um),
            (item.compound_b_id, item.doses_b_um),
        ):
            if len(doses) != limits.block_doses:
                message = (
                    f"The batch was chosen for blocks with {limits.block_doses} doses of a "
                    f"compound, but {names[compound]} has {len(doses)} in block {names[item.id]}. "
                    f"Name the block_shape to measure all {len(doses)} all the same, or set "
                    "limits.block_doses of the campaign and ask for a new recommendation."
                )
                return [FieldError(code="block_doses", message=message, pointer="/block_shape")]
    return []


def informed(
    unit: Unit,
    sample: Sample,
    items: Sequence[BatchItem],
    asked: PlatesIn,
    names: Mapping[str, str],
    errors: list[FieldError],
) -> Sample:
    """``sample`` with the wells that teach most of every block, where its shape asks for that.

    ``errors`` says of which blocks nothing is known, and which are measured already.
    """
    if not sample.informed or not items:
        return sample
    fit = _fit_of(unit, items[0].campaign_id, asked.surface_fit_id)
    known = InformedBlocks(fit, unit.parts.artifacts)
    found: dict[str, tuple[At, ...]] = {}
    without: list[str] = []
    for item in items:
        pair, doses = (item.compound_a_id, item.compound_b_id), (item.doses_a_um, item.doses_b_um)
        wells = known.wells(pair, item.cell_line_id, doses)
        if not wells:
            without.append(
                f"{fit.id} has no surface of block {names[item.id]} at these doses. Ask for "
                "surfaces anew, or name another block_shape."
                if wells is None
                else f"Every well of block {names[item.id]} that {fit.id} knows is measured. Take "
                "the block out of the batch, or name another block_shape."
            )
            continue
        found[item.id] = tuple(wells[: sample.block_wells])
    errors += [
        FieldError(code="surface", message=words, pointer="/block_shape")
        for words in without[:_SHOWN]
    ]
    return replace(sample, surface_fit_id=fit.id, wells=found)


def _fit_of(unit: Unit, campaign_id: str, asked: str | None) -> SurfaceFit:
    fits = SurfaceFitRepository(unit.session, unit.principal)
    if asked is None:
        newest = fits.newest(campaign_id)
        if newest is None:
            message = (
                "Informed blocks need surfaces, and this campaign has none. Ask for them with "
                f"POST /v1/campaigns/{campaign_id}/surfaces, or name another block_shape."
            )
            raise _invalid("surface", message, "/block_shape")
        return newest
    fit = fits.find(asked)
    if fit is None or fit.campaign_id != campaign_id:
        message = f"{asked} is no surface fit of this campaign. Leave it out for the newest one."
        raise _invalid("unknown", message, "/surface_fit_id")
    return fit


def _invalid(code: str, message: str, pointer: str) -> Invalid:
    return Invalid(message, errors=[FieldError(code=code, message=message, pointer=pointer)])
