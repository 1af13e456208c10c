"""What a key may do."""

from __future__ import annotations

from typing import Final

READ: Final = "read"
COMPOUNDS_WRITE: Final = "compounds:write"
CELL_LINES_WRITE: Final = "cell-lines:write"
CAMPAIGNS_WRITE: Final = "campaigns:write"
MEASUREMENTS_WRITE: Final = "measurements:write"
MODELS_RUN: Final = "models:run"
BATCHES_WRITE: Final = "batches:write"
ADMIN: Final = "admin"

DESCRIPTIONS: Final[dict[str, str]] = {
    READ: "Read everything in the workspace.",
    COMPOUNDS_WRITE: "Register and rename compounds.",
    CELL_LINES_WRITE: "Register and describe cell lines.",
    CAMPAIGNS_WRITE: "Open, change and close campaigns; pin and ban candidates.",
    MEASUREMENTS_WRITE: "Submit and correct measurements.",
    MODELS_RUN: "Train models, ask for recommendations and predictions, cancel jobs.",
    BATCHES_WRITE: "Accept batches and report how they go.",
    ADMIN: "All of the above, and API keys and the audit trail.",
}
