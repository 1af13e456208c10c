"""What can be wrong with a plate, said to the person at the bench."""

from __future__ import annotations

from collections.abc import Sequence


class PlateError(ValueError):
    """A plate, dose, transfer or file that cannot be; the words name it and the fix.

    ``parts``: the single problems, where there are several.
    """

    def __init__(self, message: str, parts: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.parts = tuple(parts) or (message,)
