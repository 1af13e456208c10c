"""What the fuzzer found once, as plain requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.contract.live import LiveServer
from tests.contract.seeds import Known


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {server.keys_shown[0]}"}
    with httpx2.Client(base_url=server.url, headers=headers) as client:
        yield client


def _asked(*doses: float | None) -> dict[str, Any]:
    items = [{"compound": "Lapatinib", "dose_um": dose} for dose in doses]
    return {"items": [{"cell_line": "MCF7", "doses": items}]}


def test_the_api_process_knows_every_kind_of_job(http: httpx2.Client, known: Known) -> None:
    campaign = f"/v1/campaigns/{known['campaign_id'][0]}"
    for path, body in (("models", {}), ("recommendations", {}), ("predictions", _asked(0.1))):
        answer = http.post(f"{campaign}/{path}", json=body)
        assert answer.status_code == 202, answer.text


def test_one_compound_twice_with_and_without_a_dose(http: httpx2.Client, known: Known) -> None:
    path = f"/v1/campaigns/{known['campaign_id'][0]}/predictions"
    answer = http.post(path, json=_asked(0.1, None))
    assert answer.status_code == 422
    assert {error["column"] for error in answer.json()["errors"]} == {"doses"}


def test_an_empty_cursor_does_not_start_again_at_the_first_page(http: httpx2.Client) -> None:
    """A client that sends what it got at the end of a list would never come to an end."""
    assert http.get("/v1/compounds?cursor=").status_code == 422


def test_a_parameter_that_is_given_twice_is_not_guessed(http: httpx2.Client, known: Known) -> None:
    path = f"/v1/campaigns/{known['campaign_id'][0]}/submissions?dry_run=true&dry_run=false"
    answer = http.post(path, content="x", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "repeated_parameter"


def test_a_misspelt_dry_run_stores_nothing(http: httpx2.Client, known: Known) -> None:
    path = f"/v1/campaigns/{known['campaign_id'][0]}/submissions?dryrun=true"
    table = "cell_line,compound_1,dose_1_um,viability_fraction\nA375,Imatinib,0.1,0.77\n"
    answer = http.post(path, content=table, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "query/dryrun"
    assert "dry_run" in answer.json()["detail"]
