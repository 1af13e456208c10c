"""The models of responses by name."""

from __future__ import annotations

from models.perturbation.protocol import ResponseModel
from models.perturbation.stack import Stacked, default_members
from models.screen import ScreenError

DEFAULT = "stacked"


def response_models() -> dict[str, ResponseModel]:
    """All of them, baselines first; :data:`DEFAULT` is what a campaign gets."""
    members = default_members()
    return {model.name: model for model in (*members, Stacked(members))}


def response_model(name: str) -> ResponseModel:
    """The model called ``name``; raises :class:`ScreenError` for an unknown one."""
    known = response_models()
    if name not in known:
        raise ScreenError(f"no response model is called {name!r}: {', '.join(known)}")
    return known[name]
