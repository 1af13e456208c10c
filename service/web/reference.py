"""`/` and `/docs`: the API reference as one page, made here, without scripts and without a CDN."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, select_autoescape

router = APIRouter(include_in_schema=False)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Operation:
    """One operation as the page shows it."""

    identifier: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[dict[str, Any]]
    bodies: list[str]
    responses: list[tuple[str, str, str]]


@dataclass
class Group:
    """Operations with the same tag."""

    tag: str
    operations: list[Operation] = field(default_factory=list)


@router.get("/")
def home() -> RedirectResponse:
    """The reference is the first page until there are pages for people."""
    return RedirectResponse("/docs")


@router.get("/docs")
def reference(request: Request) -> HTMLResponse:
    """Every operation with its parameters, bodies and answers."""
    document = request.app.openapi()
    groups, schemas = read_document(document)
    page = _environment().get_template("reference.html")
    html = page.render(info=document["info"], groups=groups, schemas=schemas)
    return HTMLResponse(html, headers=_HEADERS)


def read_document(document: dict[str, Any]) -> tuple[list[Group], dict[str, Any]]:
    """The operations of an OpenAPI document by tag, and its schemas by name."""
    groups: dict[str, Group] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, Group(tag)).operations.append(
                _operation(path, method, operation)
            )
    return list(groups.values()), dict(sorted(document["components"]["schemas"].items()))


def type_name(schema: dict[str, Any]) -> str:
    """A short name of what ``schema`` allows."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    for combined in ("anyOf", "oneOf"):
        if combined in schema:
            return " or ".join(dict.fromkeys(type_name(part) for part in schema[combined]))
    if schema.get("type") == "array":
        return f"list of {type_name(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("const", schema.get("type", "anything")))


def _operation(path: str, method: str, operation: dict[str, Any]) -> Operation:
    content = operation.get("requestBody", {}).get("content", {})
    return Operation(
        identifier=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=_first_sentence(operation.get("description", "")),
        description=operation.get("description", ""),
        parameters=operation.get("parameters", []),
        bodies=[f"{media}: {type_name(part.get('schema', {}))}" for media, part in content.items()],
        responses=[
            (status, answer.get("description", ""), _answer_types(answer))
            for status, answer in sorted(operation.get("responses", {}).items())
        ],
    )


def _first_sentence(description: str) -> str:
    return description.split("\n\n")[0].split(". ")[0].rstrip(".")


def _answer_types(answer: dict[str, Any]) -> str:
    content = answer.get("content", {})
    names = dict.fromkeys(type_name(part.get("schema", {})) for part in content.values())
    return ", ".join(names)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.web"), autoescape=select_autoescape(), trim_blocks=True
    )
    environment.filters["type_name"] = type_name
    return environment
