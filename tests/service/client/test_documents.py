"""The guide to the client is run as it stands; recipes name requests that exist."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.contract.live import ROOT, LiveServer
from tests.lab import Lab

GUIDE = ROOT / "docs" / "client.md"
RECIPES = sorted((ROOT / "docs" / "lims").glob("*.md"))
SAID = """\
My lab
3 Signal
stored 2
existing
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path)
    try:
        yield server.until_alive()
    finally:
        server.process.terminate()
        server.process.wait(60)


@pytest.mark.slow
def test_the_guide_is_run_as_it_stands(server: LiveServer) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
    notebook: dict[str, Any] = {"url": server.url, "key": server.keys_shown[0]}
    heard = io.StringIO()
    try:
        with redirect_stdout(heard):
            for number, block in enumerate(blocks):
                exec(compile(block, f"{GUIDE.name}, block {number + 1}", "exec"), notebook)
    finally:
        if "lab" in notebook:
            notebook["lab"]._http.close()
    said = heard.getvalue()
    assert said.startswith(SAID)
    lines = said.removeprefix(SAID).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["1", "2", "3"]
    assert lines[3] == "running 2"
    for word in ("submission.stored", "recommendation.ready", "batch.accepted", "batch.changed"):
        assert word in lines[5]
    assert lines[4] == "[('Autumn', 0), ('Notebook', 2)]"
    assert "missing" in lines[6]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_name_requests_that_exist(lab: Lab, path: Path) -> None:
    paths = lab.http.get("/openapi.json").json()["paths"]
    known = {re.sub(r"\{\w+\}", "{id}", one): one for one in paths}
    text = path.read_text()
    found = re.findall(r"(?:\$NEXTROUND|(?:GET|POST) )(/v1/[^\s\"'`)]*)", text)
    assert found
    for one in found:
        plain, _, query = re.sub(r"\$\w+", "{id}", one).partition("?")
        assert plain in known, f"{path.name}: {one}"
        operations = paths[known[plain]].values()
        names = {p["name"] for o in operations for p in o.get("parameters", [])}
        assert {part.partition("=")[0] for part in query.split("&") if part} <= names, one


@pytest.mark.parametrize("path", [*RECIPES, GUIDE], ids=lambda path: path.stem)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_ready_maps_are_told_as_they_are(lab: Lab) -> None:
    for item in lab.ok(lab.get("/v1/ready-field-maps"))["items"]:
        text = (ROOT / "docs" / "lims" / f"{item['name']}.md").read_text()
        told = set(re.findall(r"`([^`]+)`", text.partition("```")[0]))
        assert {column["column"] for column in item["definition"]["columns"]} <= told
