"""XML from strangers: elements and text, and nothing that a document type could smuggle in."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import NoReturn
from xml.parsers import expat

from service.plates.problems import PlateError

MAX_BYTES = 50_000_000


def read_xml(data: bytes, what: str) -> ET.Element:
    """The root element. Refuses a DOCTYPE, and with it every entity that could grow or fetch."""
    if len(data) > MAX_BYTES:
        raise PlateError(f"the {what} is larger than {MAX_BYTES // 1_000_000} MB")
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> NoReturn:
        raise PlateError(f"the {what} has a DOCTYPE, which is not read; export it again without")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        raise PlateError(f"line {error.lineno}: the {what} is not XML ({reason})") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, PlateError):
            raise
        raise PlateError(f"the {what} has an encoding that cannot be read: {error}") from None
    return builder.close()
