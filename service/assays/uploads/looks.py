"""A plate of a file as the outside sees it before it counts."""

from __future__ import annotations

from service.assays.uploads.plate_files import PlateWork
from service.assays.uploads.reads import Read
from service.assays.uploads.schemas import (
    PlateLookOut,
    PreviewWellOut,
    ProposedFlagOut,
    QualityGroupOut,
    ReadOut,
    UnreadWellOut,
)
from service.plates.geometry import well_name

_FIRST = 8


def describe(work: PlateWork, rule: str) -> PlateLookOut:
    """What the outside sees of a plate before it counts."""
    judged, read = work.judged, work.read
    return PlateLookOut(
        index=work.found.index,
        names=list(work.found.names),
        barcode=work.barcode,
        barcode_from=work.said_by,
        plate_id=None if work.row is None else work.row.id,
        skip=work.choice.skip,
        reads=[_describe_read(each) for each in work.found.reads],
        label=None if read is None else read.label,
        unit=None if read is None else read.unit,
        n_read=0 if read is None else read.n_read,
        n_counted=len(work.wells),
        missing_wells=[well_name(*at) for at in work.missing],
        outside_wells=[well_name(*at) for at in work.outside],
        unread_wells=[UnreadWellOut(well=well_name(*at), flag=f) for at, f in work.unread.items()],
        rule=rule,
        scale=None if judged is None else judged.scale,
        verdict=None if judged is None else judged.verdict,
        reasons=[] if judged is None else list(judged.reasons),
        groups=[QualityGroupOut.model_validate(each) for each in (judged.groups if judged else ())],
        proposed_flags=[
            ProposedFlagOut.model_validate(each) for each in (judged.proposed if judged else ())
        ],
        first_wells=_first_wells(work),
        problems=work.problems,
    )


def _describe_read(read: Read) -> ReadOut:
    return ReadOut(
        label=read.label,
        kind=read.kind,
        unit=read.unit,
        time_h=read.time_h,
        derived=read.derived,
        n_read=read.n_read,
    )


def _first_wells(work: PlateWork) -> list[PreviewWellOut]:
    if work.judged is None or work.read is None:
        return []
    readings, values = work.read.by_well, work.judged.values
    wells = [well for well in work.map.used if well.at in readings][:_FIRST]
    return [
        PreviewWellOut(
            well=well.name,
            role=well.role.value,
            reading=readings[well.at].value,
            viability=values.get(well.at),
            line=readings[well.at].line,
        )
        for well in wells
    ]
