"""Protocols of the HP/Tecan D300 and D300e (.hpdd, .tdd), read and written.

All numbers of a file are in its own units (``VolumeUnit``, ``ConcentrationUnit``: nL and uM). The
``ConcentrationUnit`` inside a fluid is only how the D300 software shows it: stocks of "1000" there
are 1000 uM, not mM, as the volumes of real protocols prove (the smallest is 14 pL, about one drop).
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.plates.geometry import PlateFormat, WellAt, format_of, well_name
from service.plates.labware import VEHICLE, Destination, Dispenser
from service.plates.numbers import amount
from service.plates.plate_map import FILLED, PlateMap, Role
from service.plates.problems import PlateError
from service.plates.safe_xml import read_xml
from service.plates.transfers import fill_vehicle

# By the Greek letter, the micro sign and a plain u: files have all three.
_VOLUMES = {"nL": 1.0, "µL": 1e3, "μL": 1e3, "uL": 1e3, "pL": 1e-3}
_CONCENTRATIONS = {"µM": 1.0, "μM": 1.0, "uM": 1.0, "nM": 1e-3, "mM": 1e3, "pM": 1e-6}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True)
class Fluid:
    """What is in a cassette: a stock, perhaps the dilution of another (``root``)."""

    id: str
    name: str
    stock_um: float
    root: str | None = None
    dilution: float | None = None


@dataclass(frozen=True)
class D300Plate:
    """A plate of a protocol: for each well its fluids, by id, and their doses in uM."""

    name: str
    format: PlateFormat
    assay_nl: float
    vehicle_limit: float
    wells: Mapping[WellAt, tuple[tuple[str, float], ...]]


@dataclass(frozen=True)
class D300Protocol:
    """A whole file. ``backfilled``: plate (from 0) and well of all that is filled with vehicle."""

    version: str
    fluids: tuple[Fluid, ...]
    plates: tuple[D300Plate, ...]
    backfilled: frozenset[tuple[int, WellAt]] = frozenset()

    def doses(
        self, plate: int, names: Mapping[str, str], vehicle: str = VEHICLE
    ) -> dict[WellAt, tuple[tuple[str, float], ...]]:
        """The compounds of every well of a plate (from 0) with their doses in uM.

        ``names``: from the label of a fluid to the compound's own name. A well of vehicle alone is
        there with no compounds; two dilutions of one compound add up. Refuses an unknown label.
        """
        labels = {fluid.id: fluid.name for fluid in self.fluids}
        found = {}
        for well, fluids in self.plates[plate].wells.items():
            doses: dict[str, float] = {}
            for identifier, dose in fluids:
                label = labels[identifier]
                if label == vehicle:
                    continue
                if label not in names:
                    raise PlateError(
                        f"fluid {label!r} of the D300 protocol is no compound that is known; "
                        "name its compound"
                    )
                doses[names[label]] = doses.get(names[label], 0.0) + dose
            found[well] = tuple(doses.items())
        return found


def read_d300(data: bytes) -> D300Protocol:
    """A protocol from its file. Refuses what is no protocol, and whatever it cannot be sure of."""
    root = read_xml(data, "D300 protocol")
    if root.tag != "Protocol":
        raise PlateError(f"a D300 protocol begins with <Protocol>, not <{root.tag[:40]}>")
    version = _text(root, "Version", "the protocol")
    if version.split(".")[0] != "3":
        raise PlateError(f"D300 protocols of version {version} are not read; version 3 is")
    volume = _unit(root, "VolumeUnit", _VOLUMES)
    concentration = _unit(root, "ConcentrationUnit", _CONCENTRATIONS)
    fluids = tuple(_fluid(each, concentration) for each in _children(root, "Fluids", "Fluid"))
    known = {fluid.id for fluid in fluids}
    if len(known) < len(fluids):
        raise PlateError("the D300 protocol gives two fluids the same ID")
    plates = tuple(
        _plate(each, index, known, volume, concentration)
        for index, each in enumerate(_children(root, "Plates", "Plate"))
    )
    if not plates:
        raise PlateError("the D300 protocol has no plate")
    return D300Protocol(version, fluids, plates, _backfilled(root, plates))


def write_d300(
    plates: Sequence[PlateMap],
    destination: Destination,
    dispenser: Dispenser,
    names: Mapping[str, str] | None = None,
) -> bytes:
    """The protocol of these plates, with their real doses; plates are named by barcode.

    Refuses doses off the dispenser's drops and wells over the vehicle limit, which the D300
    software would only mark, and vehicle that its back-fill (to the fullest well) cannot make.
    """
    fill_vehicle(plates, destination, dispenser)
    backfill = _backfill_wells(plates)
    fluids = _fluids(plates, names or {})
    root = ET.Element("Protocol")
    for tag, text in (
        ("Version", "3"),
        ("VolumeUnit", "nL"),
        ("ConcentrationUnit", "µM"),
        ("MolarityConcentrationUnit", "µM"),
        ("MassConcentrationUnit", "ng_mL"),
    ):
        _add(root, tag, text)
    listed = _add(root, "Fluids")
    for fluid in fluids.values():
        _add_fluid(listed, fluid)
    for tag, text in (
        ("ShakePerFluid", "False"),
        ("ShakePlateDuration", "5"),
        ("ShakePerWell", "True"),
        ("ShakeThresholdVolume", "100"),
        ("BackfillOrder", "Last"),
        ("BackfillNoDispense", "False"),
    ):
        _add(root, tag, text)
    made = _add(root, "Plates")
    for plate in plates:
        _add_plate(made, plate, destination, fluids)
    _add_backfill(_add(root, "Backfills"), backfill)
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _child(parent: ET.Element, tag: str) -> ET.Element:
    found = parent.findall(tag)
    if len(found) != 1:
        raise PlateError(
            f"<{parent.tag}> of the D300 protocol has {len(found)} times <{tag}>, expected once"
        )
    return found[0]


def _children(parent: ET.Element, tag: str, of: str) -> list[ET.Element]:
    """The elements of a list, which must all be of one kind."""
    children = list(_child(parent, tag))
    if odd := [each.tag for each in children if each.tag != of]:
        raise PlateError(f"<{tag}> of the D300 protocol holds <{odd[0][:40]}>, expected <{of}>")
    return children


def _text(parent: ET.Element, tag: str, where: str) -> str:
    text = (_child(parent, tag).text or "").strip()
    if not text:
        raise PlateError(f"{where}: <{tag}> of the D300 protocol is empty")
    return text


def _number(text: str | None, what: str) -> float:
    value = amount((text or "").strip())
    if value is None:
        raise PlateError(f"{what} is {(text or '')[:40]!r}, expected a number from 0 up")
    return value


def _index(element: ET.Element, name: str, where: str) -> int:
    text = element.get(name) or ""
    if not (text.isascii() and text.isdigit()) or len(text) > 4:
        raise PlateError(f"{where}: {name}={text[:40]!r} is no whole number from 0 up")
    return int(text)


def _unit(root: ET.Element, tag: str, known: Mapping[str, float]) -> float:
    unit = _text(root, tag, "the protocol")
    if unit not in known:
        raise PlateError(f"<{tag}> {unit!r} is none of {', '.join(known)}")
    return known[unit]


def _fluid(element: ET.Element, scale: float) -> Fluid:
    identifier, where = element.get("ID"), f"fluid {element.get('ID')}"
    if not identifier:
        raise PlateError("a fluid of the D300 protocol has no ID")
    name = _text(element, "Name", where)
    by_volume = element.findtext("ByVol", "False").strip()
    if by_volume != "False":
        raise PlateError(f"{where} ({name}) is dosed by volume, not by concentration")
    stock = _number(element.findtext("Concentration"), f"{where} ({name}): its stock") * scale
    dilution = element.findtext("DilutionFactor")
    factor = None if dilution is None else _number(dilution, f"{where} ({name}): its dilution")
    return Fluid(identifier, name, stock, element.findtext("RootFluidID"), factor)


def _plate(
    element: ET.Element, index: int, known: set[str], volume: float, concentration: float
) -> D300Plate:
    name = (element.findtext("Name") or "").strip()
    where = f"plate {index + 1}" + (f" ({name})" if name else "")
    rows, columns = (_number(element.findtext(tag), f"{where}: {tag}") for tag in ("Rows", "Cols"))
    shape = format_of(rows, columns)
    randomize = element.find("Randomize")
    if randomize is not None and (len(randomize) or (randomize.text or "").strip()):
        raise PlateError(
            f"{where} is shuffled by the D300 itself, so that its wells are not where the file "
            "lists them; switch randomisation off"
        )
    wells: dict[WellAt, tuple[tuple[str, float], ...]] = {}
    for well in _children(element, "Wells", "Well"):
        at = shape.check((_index(well, "Row", where), _index(well, "Col", where)))
        if at in wells:
            raise PlateError(f"{where} lists well {well_name(*at)} twice")
        wells[at] = _well(well, f"{where}, well {well_name(*at)}", known, concentration)
    return D300Plate(
        name,
        shape,
        _number(element.findtext("AssayVolume"), f"{where}: AssayVolume") * volume,
        _number(element.findtext("DMSOLimit"), f"{where}: DMSOLimit"),
        wells,
    )


def _well(
    element: ET.Element, where: str, known: set[str], scale: float
) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for fluid in element:
        identifier = fluid.get("ID") or ""
        if fluid.tag != "Fluid" or identifier not in known:
            raise PlateError(f"{where} asks for fluid {identifier[:40]!r}, which is not listed")
        if identifier in found:
            raise PlateError(f"{where} asks for fluid {identifier} twice")
        found[identifier] = _number(fluid.text, f"{where}: the dose of {identifier}") * scale
    return tuple(found.items())


def _backfilled(root: ET.Element, plates: Sequence[D300Plate]) -> frozenset[tuple[int, WellAt]]:
    found = set()
    for well in root.iterfind("Backfills/Backfill/Wells/Well"):
        plate, row, column = (_index(well, name, "a back-filled well") for name in "PRC")
        if plate >= len(plates):
            raise PlateError(f"back-fill names plate {plate + 1}, of {len(plates)}")
        found.add((plate, plates[plate].format.check((row, column))))
    return frozenset(found)


def _backfill_wells(plates: Sequence[PlateMap]) -> list[tuple[int, WellAt]]:
    """Wells that the D300 fills with vehicle; none where the plates have no vehicle at all."""
    filled = [(index, well) for index, plate in enumerate(plates) for well in plate.of(*FILLED)]
    if not any(well.vehicle_nl for _, well in filled):
        return []
    fullest = max(well.compound_nl for _, well in filled)
    for index, well in filled:
        if not math.isclose(well.compound_nl + well.vehicle_nl, fullest, abs_tol=1e-6):
            raise PlateError(
                f"plate {plates[index].barcode}, well {well.name}: a D300 fills vehicle up to the "
                f"fullest well ({fullest:g} nL), not to {well.compound_nl + well.vehicle_nl:g} "
                "nL; plan the vehicle without a fraction"
            )
    return [(index, well.at) for index, well in filled]


def _fluids(plates: Sequence[PlateMap], names: Mapping[str, str]) -> dict[tuple[str, float], Fluid]:
    """A fluid for every stock; weaker ones are dilutions of the strongest of their compound."""
    stocks = sorted(
        {
            (each.compound, -each.stock_mm)
            for plate in plates
            for well in plate.wells
            for each in well.contents
        }
    )
    found: dict[tuple[str, float], Fluid] = {}
    roots: dict[str, Fluid] = {}
    for number, (compound, negative) in enumerate(stocks):
        name, stock_um = names.get(compound, compound), -negative * 1000
        if _CONTROL.search(name):
            raise PlateError(f"the name {name!r} has characters that XML cannot hold; rename it")
        root = roots.get(compound)
        if root is None:
            fluid = roots[compound] = Fluid(str(number), name, stock_um)
        else:
            factor = root.stock_um / stock_um
            fluid = Fluid(str(number), f"{name} - 1:{factor:g}", stock_um, root.id, factor)
        found[compound, -negative] = fluid
    return found


def _add(parent: ET.Element, tag: str, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = text
    return element


def _add_fluid(parent: ET.Element, fluid: Fluid) -> None:
    element = ET.SubElement(parent, "Fluid", ID=fluid.id)
    _add(element, "Name", fluid.name)
    if fluid.root is not None:
        _add(element, "RootFluidID", fluid.root)
        _add(element, "DilutionFactor", _plain(fluid.dilution or 1.0))
    _add(element, "ByVol", "False")
    _add(element, "Concentration", _plain(fluid.stock_um))
    _add(element, "ConcentrationUnit", "mM")
    _add(element, "ClassID", "0")


def _add_plate(
    parent: ET.Element,
    plate: PlateMap,
    destination: Destination,
    fluids: Mapping[tuple[str, float], Fluid],
) -> None:
    element = _add(parent, "Plate")
    for tag, text in (
        ("PlateType", f"Default{plate.format.size}"),
        ("Rows", str(plate.format.rows)),
        ("Cols", str(plate.format.columns)),
        ("Name", plate.barcode),
        ("AssayVolume", _plain(plate.assay_nl)),
        ("DMSOLimit", _plain(destination.vehicle_limit)),
        ("DontShake", "False"),
    ):
        _add(element, tag, text)
    wells = _add(element, "Wells")
    for well in plate.wells:
        if well.role is Role.EMPTY or not well.contents:
            continue
        row, column = well.at
        made = ET.SubElement(wells, "Well", Row=str(row), Col=str(column))
        for each in well.contents:
            fluid = fluids[each.compound, each.stock_mm]
            ET.SubElement(made, "Fluid", ID=fluid.id).text = _plain(each.real_um)
    _add(element, "Randomize")


def _add_backfill(parent: ET.Element, wells: Sequence[tuple[int, WellAt]]) -> None:
    if not wells:
        return
    backfill = ET.SubElement(parent, "Backfill", ClassID="0", Type="ToMaxVolume")
    listed = _add(backfill, "Wells")
    for plate, (row, column) in wells:
        ET.SubElement(listed, "Well", P=str(plate), R=str(row), C=str(column))


def _plain(value: float) -> str:
    """A number that reads back to the last bit."""
    return str(int(value)) if value == int(value) else repr(float(value))
