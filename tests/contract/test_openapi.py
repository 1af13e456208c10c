"""The OpenAPI document: valid, complete, stable enough to generate a client from."""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.contract.live import ROOT, LiveServer

COMMITTED = json.loads((ROOT / "openapi.json").read_text())
METHODS = ("get", "put", "post", "patch", "delete", "head", "options", "trace")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of everything in the committed document."""
    for path, item in COMMITTED["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


OPERATIONS = [pytest.param(*row, id=row[2]["operationId"]) for row in operations()]
PROTECTED = [row for row in OPERATIONS if str(row.values[1]).startswith("/v1/")]


@pytest.fixture(scope="module")
def http(server: LiveServer) -> Iterator[httpx2.Client]:
    """Without a key."""
    with httpx2.Client(base_url=server.url) as client:
        yield client


def test_the_committed_copy_is_what_the_service_serves(http: httpx2.Client) -> None:
    served = http.get("/openapi.json").json()
    assert served == COMMITTED, "openapi.json is stale; renew it with: make openapi"


def test_it_is_valid_openapi_3_1() -> None:
    assert COMMITTED["openapi"].startswith("3.1")
    problems = list(OpenAPIV31SpecValidator(COMMITTED).iter_errors())
    assert not problems, problems


def test_every_reference_leads_somewhere_and_no_schema_is_left_over() -> None:
    schemas = set(COMMITTED["components"]["schemas"])
    used = {ref.removeprefix("#/components/schemas/") for ref in _references(COMMITTED)}
    assert used - schemas == set()
    assert schemas - used == set()


def test_operation_ids_make_good_function_names() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for name in [*names, *COMMITTED["components"]["schemas"]]:
        assert name.isidentifier(), name
        assert not keyword.iskeyword(name), name


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_an_operation_says_what_it_does(method: str, path: str, operation: dict[str, Any]) -> None:
    assert len(operation["tags"]) == 1
    assert operation["summary"]
    assert operation["description"].strip().endswith(".")
    for parameter in operation.get("parameters", []):
        assert parameter["schema"], parameter
        assert parameter["in"] == "path" or parameter.get("description"), parameter["name"]
    assert any(status[0] == "2" for status in operation["responses"])


@pytest.mark.parametrize(("method", "path", "operation"), PROTECTED)
def test_an_operation_documents_its_problems(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert operation["security"] == [{"ApiKey": []}]
    responses = operation["responses"]
    expected = {"401", "403", "422", "503"}
    expected |= {"404"} if "{" in path else set()
    expected |= {"412", "428"} if method == "patch" else set()
    expected |= {"400", "413", "415"} if "requestBody" in operation else set()
    assert expected <= set(responses)
    for status, response in responses.items():
        if status >= "400":
            (media_type,) = response["content"]
            assert media_type == "application/problem+json"
            schema = response["content"][media_type]["schema"]
            assert schema == {"$ref": "#/components/schemas/ProblemBody"}


@pytest.mark.parametrize(("method", "path", "operation"), PROTECTED)
def test_an_operation_asks_for_its_key_first(
    http: httpx2.Client, method: str, path: str, operation: dict[str, Any]
) -> None:
    """Before it looks at path, query or body: whoever has no key learns nothing."""
    url = path.replace("{", "").replace("}", "") + "?unknown=1"
    for headers in ({}, {"Authorization": "Bearer nr_none_none"}):
        answer = http.request(method.upper(), url, headers=headers, content=b"{")
        assert answer.status_code == 401, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_examples_obey_their_own_schema() -> None:
    seen = 0
    for place, schema in _schemas(COMMITTED):
        for example in schema.get("examples", []):
            seen += 1
            whole = {**schema, "components": COMMITTED["components"]}
            assert jsonschema_rs.is_valid(whole, example), (place, example)
    assert seen > 20


def test_every_request_body_shows_an_example() -> None:
    """Somewhere in it: a person who reads the guide sees what a value looks like."""
    for _, _, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            schema = content["application/json"]["schema"]
            assert _shows_example(schema), operation["operationId"]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from _references(item)
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


def _schemas(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        if isinstance(value.get("examples"), list):
            yield place, value
        for name, item in value.items():
            yield from _schemas(item, f"{place}/{name}")
    if isinstance(value, list):
        for item in value:
            yield from _schemas(item, place)


def _shows_example(schema: dict[str, Any], depth: int = 0) -> bool:
    inner = [COMMITTED["components"]["schemas"][ref.split("/")[-1]] for ref in _references(schema)]
    own = any(True for _ in _schemas(schema))
    return own or (depth < 4 and any(_shows_example(item, depth + 1) for item in inner))
