"""Which code a result comes from: a digest of the modules that it can depend on.

Followed are the imports of modules of ``models``, wherever in the file they stand, except those
under ``if TYPE_CHECKING``. A change to one model leaves the results of all others valid.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "models"


@cache
def code_digest(modules: tuple[str, ...], alone: tuple[str, ...] = ()) -> str:
    """Digest of the source of ``modules`` (dotted names) and of all that they import, and of the
    modules ``alone`` without what they import.

    Files are read once a process: what it runs does not change when somebody edits them.
    """
    files = {name: _source(name) for name in {*closure(modules), *alone}}
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\n{len(files[name])}\n".encode())
        digest.update(files[name])
    return digest.hexdigest()


def closure(modules: Iterable[str]) -> frozenset[str]:
    """``modules`` and every module of the package that they import, however indirectly."""
    waiting, found = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found and _path(name) is not None:
            found.add(name)
            waiting += _imports(name)
    return frozenset(found)


@cache
def _path(name: str) -> Path | None:
    """The file of a module; ``None`` for what is no module, such as a class."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


@cache
def _source(name: str) -> bytes:
    path = _path(name)
    return b"" if path is None else path.read_bytes()


@cache
def _imports(name: str) -> tuple[str, ...]:
    tree = ast.parse(_source(name))
    found = {part for node in _nodes(tree) for t in _targets(node) for part in _with_packages(t)}
    return tuple(t for t in sorted(found) if t == PACKAGE or t.startswith(f"{PACKAGE}."))


def _with_packages(name: str) -> Iterator[str]:
    """``a.b.c``, ``a.b`` and ``a``: importing the first runs them all."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that exist for type checkers only."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child)


def _targets(node: ast.AST) -> Iterator[str]:
    """What an import names; ``from a import b`` is ``a`` and, if it is a module, ``a.b``."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
