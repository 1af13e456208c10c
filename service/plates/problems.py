"""What can be wrong with a plate, said to the person at the bench."""

from __future__ import annotations


class PlateError(ValueError):
    """A plate, dose, transfer or file that cannot be; the words name it and the fix."""
