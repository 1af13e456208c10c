"""How a campaign says what it learns from beside its own measurements."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.kit.schemas import IdText

LearnFrom = Annotated[list[IdText], Field(max_length=20)]
LEARN_FROM = (
    "Other campaigns of the workspace, by id, whose current measurements teach the model beside "
    "the campaign's own; not what these learn from in turn."
)
REPEAT_EARLIER = (
    "Whether blocks that only these measured may be proposed again; a pin asks for a single one."
)
