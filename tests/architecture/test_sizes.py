"""Code that can be read in one sitting."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import Function, Source, sources

MAX_FILE = 450
MAX_FUNCTION = 60
MAX_ENDPOINT = 25
ALL = ("service", "models", "migrations", "tests", "benchmarks", "scripts")


def _history(source: Source) -> bool:
    # A migration is generated and then never touched again.
    return source.name.startswith("migrations.versions")


def test_files_can_be_read_in_one_sitting() -> None:
    """style.md: files under about 450 lines."""
    long = {s.name: s.n_lines for s in sources(*ALL) if s.n_lines > MAX_FILE and not _history(s)}
    assert long == {}


def test_functions_fit_on_a_screen() -> None:
    """style.md: a median of about ten lines, few above forty-five, none above sixty."""
    long = {
        f"{source.where(function)} {function.name}": _length(function)
        for source in sources(*ALL)
        for function in source.functions()
        if _length(function) > MAX_FUNCTION and not _history(source)
    }
    assert long == {}


def test_endpoints_are_adapters_of_a_few_lines() -> None:
    """House rule 4: rules live in service.py."""
    long = {
        f"{source.where(function)} {function.name}": _body_length(function)
        for source in sources("service")
        for function in source.functions()
        if _is_endpoint(function) and _body_length(function) > MAX_ENDPOINT
    }
    assert long == {}


@pytest.mark.parametrize("package", ["models", "service"])
def test_modules_say_what_they_are_for(package: str) -> None:
    """style.md: every module begins with one sentence, unless it is an empty __init__."""
    silent = [s.name for s in sources(package) if s.text.strip() and not ast.get_docstring(s.tree)]
    assert silent == []


def test_everything_public_in_models_is_documented() -> None:
    """style.md: full docstrings on what is public in models/; a property is a noun of its class,
    whose docstring explains it."""
    silent = [
        f"{source.where(node)} {node.name}"
        for source in sources("models")
        for node in _public(source.tree)
        if not ast.get_docstring(node)
    ]
    assert silent == []


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _body_length(function: Function) -> int:
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _is_endpoint(function: Function) -> bool:
    return any(
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and isinstance(decorator.func.value, ast.Name)
        and decorator.func.value.id == "router"
        for decorator in function.decorator_list
    )


def _public(tree: ast.AST) -> list[Function | ast.ClassDef]:
    """Public functions and classes of a module, and the public methods of those classes."""
    found: list[Function | ast.ClassDef] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if not _is_property(node):
                found.append(node)
            if isinstance(node, ast.ClassDef):
                found += _public(node)
    return found


def _is_property(node: Function | ast.ClassDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
