"""Code that can be read in one sitting."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

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
    """style.md: full docstrings on what is public in models/: classes, functions and methods, those
    of private classes too; not functions inside of functions. A property may be explained by the
    docstring of its class, which then names it."""
    silent = [
        f"{source.where(node)} {node.name}"
        for source in sources("models")
        for node in _undocumented(source.tree, "")
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("code", "silent"),
    [
        ("def f(): ...", ["f"]),
        ("def f():\n    'Says it.'\n    def inner(): ...", []),
        ("def _f(): ...", []),
        ("class A:\n    'Says it.'\n    def f(self): ...\n    def _g(self): ...", ["f"]),
        ("class _A:\n    def f(self): ...", ["f"]),
        ("class A:\n    'Has ``size``.'\n    @property\n    def size(self): ...", []),
        ("class A:\n    'Has resize.'\n    @cached_property\n    def size(self): ...", ["size"]),
    ],
)
def test_what_is_not_documented_is_found(code: str, silent: list[str]) -> None:
    assert [node.name for node in _undocumented(ast.parse(code), "")] == silent


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


def _undocumented(
    tree: ast.Module | ast.ClassDef, explained: str
) -> Iterator[Function | ast.ClassDef]:
    """What should have a docstring and has none; ``explained``: the docstring of the class."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef):
            continue
        told = ast.get_docstring(node) or ""
        by_class = _is_property(node) and re.search(rf"\b{node.name}\b", explained)
        if not (told or by_class or node.name.startswith("_")):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, told)


def _is_property(node: Function | ast.ClassDef) -> bool:
    names = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
    return bool(names & {"property", "cached_property"})
