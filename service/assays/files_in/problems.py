"""The one error of this room: which format, where in the file, what is wrong, and the fix."""

from __future__ import annotations


class FileError(ValueError):
    """A file that cannot be read, or that says two things at once.

    ``line`` counts from 1 (a row, in a workbook); ``sheet`` and ``cell`` name the place in a
    workbook. ``unexpected`` marks a fault of the reader itself rather than of the file.
    """

    def __init__(
        self,
        format: str | None,
        line: int | None,
        message: str,
        fix: str,
        *,
        sheet: str | None = None,
        cell: str | None = None,
        unexpected: bool = False,
    ) -> None:
        self.format, self.line, self.message, self.fix = format, line, message, fix
        self.sheet, self.cell, self.unexpected = sheet, cell, unexpected
        super().__init__(f"{self.where}: {message}; {fix}")

    @property
    def where(self) -> str:
        """The place in words: ``line 12`` or ``sheet 'Data', cell B7``."""
        parts = [f"sheet {self.sheet!r}"] if self.sheet is not None else []
        if self.cell is not None:
            parts.append(f"cell {self.cell}")
        elif self.line is not None:
            parts.append(f"{'row' if self.sheet is not None else 'line'} {self.line}")
        return ", ".join(parts) or "the file"


def shorten(text: str, limit: int = 40) -> str:
    """``text`` in quotes, cut to ``limit`` characters."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
