"""How large a file may be; every limit names itself in the message that refuses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes beyond which a file is refused before it is read further."""

    bytes: int = 64 << 20
    unpacked_bytes: int = 256 << 20  # after decompression: gz, zip, xlsx, parquet
    rows: int = 500_000  # of one sheet or table
    columns: int = 4_000
    cells: int = 8_000_000  # of one file
    cell_characters: int = 32_768
    archive_files: int = 2_000


DEFAULT_LIMITS = Limits()
