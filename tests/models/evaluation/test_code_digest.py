"""A digest that changes with the code behind a result, and with nothing else."""

from __future__ import annotations

import pytest

from models.evaluation import code_digest as module
from models.evaluation.code_digest import closure, code_digest


def test_imports_are_followed_through_the_package() -> None:
    found = closure(["models.synergy.baselines"])
    assert {"models.synergy.baselines", "models.synergy.inputs", "models.screen"} <= found
    assert "models.synergy" in found
    assert "numpy" not in found
    assert "models.synergy.bnn" not in found


def test_type_checkers_alone_need_no_module() -> None:
    """Evidence names the registry in annotations: other models are not its code."""
    assert "models.synergy.registry" not in closure(["models.synergy.evidence"])


def test_a_changed_file_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    source = module._source
    before = code_digest(("models.synergy.baselines",))
    other = code_digest(("models.synergy.choice",))
    code_digest.cache_clear()
    monkeypatch.setattr(
        module,
        "_source",
        lambda name: source(name) + (b"# x" if name == "models.synergy.inputs" else b""),
    )
    assert code_digest(("models.synergy.baselines",)) != before
    code_digest.cache_clear()
    assert before != other


def test_modules_alone_bring_nothing_with_them() -> None:
    base = ("models.synergy.baselines",)
    assert code_digest(base, ("models.rounds",)) not in (
        code_digest(base),
        code_digest(("models.rounds",)),
    )
