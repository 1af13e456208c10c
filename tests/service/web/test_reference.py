"""The reference page: all of the API, nothing from elsewhere."""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from service.web.reference import type_name


def test_the_first_page_is_the_reference(http: TestClient) -> None:
    answer = http.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


def test_every_operation_and_schema_is_on_the_page(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    page = http.get("/docs").text
    operations = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert operations
    for identifier in operations:
        assert f'<details id="{identifier}">' in page
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in page


def test_the_page_loads_nothing_and_runs_nothing(http: TestClient) -> None:
    answer = http.get("/docs")
    assert "<script" not in answer.text
    assert re.findall(r'(?:src|href)="(?:https?:)?//', answer.text) == []
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"$ref": "#/components/schemas/JobOut"}, "JobOut"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        ({"enum": ["pin", "ban"], "type": "string"}, "pin | ban"),
        ({"const": "done"}, "done"),
        ({}, "anything"),
    ],
)
def test_type_names(schema: dict[str, object], name: str) -> None:
    assert type_name(schema) == name
