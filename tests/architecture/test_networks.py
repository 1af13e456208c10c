"""What networks of the house are made of."""

from __future__ import annotations

import ast

from tests.architecture.source import sources

PLAIN = {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "batch_norm"}
ALLOWED = "models.bayes.post_shifted"
"""Folds its layer into a plain one, which is the end of training."""


def test_batch_normalisation_is_the_kind_whose_channels_do_not_collapse() -> None:
    """Warm starts and large learning rates silence channels behind a plain one for good."""
    found = [
        source.where(node)
        for source in sources("models")
        if source.name != ALLOWED
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and node.attr in PLAIN)
        or (isinstance(node, ast.Name) and node.id in PLAIN)
    ]
    assert found == []
