"""The source code as data: every module of the house, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file: its dotted name, its text and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def n_lines(self) -> int:
        return self.text.count("\n")

    @property
    def room(self) -> str:
        """``service.batches``, ``models.screen``: the folder or file right under the package."""
        return ".".join(self.name.split(".")[:2])

    def imports(self) -> Iterator[str]:
        """Dotted names of everything imported, at the top or inside functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def functions(self) -> Iterator[Function]:
        """Every function and method, inner ones included."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def where(self, node: ast.AST) -> str:
        """``path:line`` for a message that an editor can follow."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def sources(*folders: str) -> Iterator[Source]:
    """The modules in ``folders``, in order of their names."""
    for folder in folders:
        yield from _in_folder(folder)


@cache
def _in_folder(folder: str) -> tuple[Source, ...]:
    return tuple(_parse(path) for path in sorted((ROOT / folder).rglob("*.py")))


def _parse(path: Path) -> Source:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    text = path.read_text()
    return Source(name, path, text, ast.parse(text))
