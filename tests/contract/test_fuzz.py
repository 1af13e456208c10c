"""Any request that can be made is answered as the OpenAPI document says.

No 5xx, no status or content type that the document does not name, no body that breaks its own
schema, no operation without its key. The requests follow from a fixed seed;
``NEXTROUND_FUZZ_EXAMPLES`` asks for more of them.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection

from tests.contract.live import ROOT, LiveServer
from tests.contract.seeds import CELL_LINES, COMPOUNDS, Known

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("NEXTROUND_FUZZ_EXAMPLES", "40"))
SEED = 20_260_801
# What a request that fits the schema may still be told: the schema cannot say which names exist,
# which cursors we issued, which version is the present one, or how much is too much.
REFUSALS = ["401", "403", "404", "409", "412", "413", "415", "422", "428"]

_NOT_READY = {
    "not_a_server_error": {"enabled": False},
    "positive_data_acceptance": {"enabled": False},
}
_config = SchemathesisConfig.from_dict(
    {
        "seed": SEED,
        "checks": {
            # It doubles the requests; test_openapi.py asks every operation once without a key.
            "ignored_auth": {"enabled": False},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "304", *REFUSALS]},
            "negative_data_rejection": {"expected-statuses": ["400", "405", "406", *REFUSALS]},
        },
        # Without a worker the service is not ready, and says so with a 503.
        "operations": [{"include-operation-id": "readyz", "checks": _NOT_READY}],
    }
)
# Bytes of any kind, as for application/octet-stream; unnamed, such bodies would not be sent.
schemathesis.serializer.alias("application/x-hdf5", "application/octet-stream")
schema = schemathesis.openapi.from_path(ROOT / "openapi.json", config=_config)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@pytest.mark.timeout(3600)
def test_answers_as_documented(case: Case, server: LiveServer, known: Known) -> None:
    lead_to_rows(case, known)
    headers = {"Authorization": f"Bearer {server.keys_shown[0]}"}
    # Written into a URL or a header, a wrong type turns into a good text or into nothing at all:
    # only a body stays wrong. test_transport.py has the queries that must be refused.
    skipped = [] if _has_bad_body(case) else [negative_data_rejection]
    case.call_and_validate(server.url, headers=headers, excluded_checks=skipped, timeout=30)


def test_the_log_of_the_fuzzed_server_has_no_traceback(server: LiveServer) -> None:
    assert "Traceback" not in server.output
    assert "unexpected error" not in server.output
    assert server.is_alive()


def lead_to_rows(case: Case, known: Known) -> None:
    """Put identifiers and names of real rows where a random string would only give a 404.

    Which ones, and whether at all, follows from the case itself: the same seed, the same requests.
    """
    if _is_positive(case, ParameterLocation.PATH):
        for name, value in case.path_parameters.items():
            if _chance(value, 8) > 0:
                case.path_parameters[name] = _pick(_rows(case, name, known), value)
    changes = case.method in ("PATCH", "PUT") and _is_positive(case, ParameterLocation.HEADER)
    if changes and _chance(case.body, 4) > 0:
        case.headers["If-Match"] = "*"
    if _is_positive(case, ParameterLocation.BODY):
        case.body = _with_real_names(case.body, known)


def _is_positive(case: Case, where: ParameterLocation) -> bool:
    component = case.meta.components.get(where) if case.meta else None
    return component is not None and component.mode.is_positive


def _has_bad_body(case: Case) -> bool:
    component = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return component is not None and component.mode.is_negative


def _rows(case: Case, name: str, known: Known) -> list[str]:
    operation = case.operation.definition.raw["operationId"]
    if operation == "change_campaign":
        return known["spare_campaign_id"]  # it may close it, and then nothing else happens there
    if operation == "cancel_job":
        return known["spare_job_id"]
    return known[name]


def _with_real_names(value: Any, known: Known, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_real_names(item, known, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_real_names(item, known, key) for item in value]
    candidates = {
        "recommendation_id": known["recommendation_id"],
        "model_id": known["model_id"],
        "cell_line": CELL_LINES,
        "cell_lines": CELL_LINES,
        "add_cell_lines": CELL_LINES,
        "compound": COMPOUNDS,
        "compounds": COMPOUNDS,
        "pairs": COMPOUNDS,
    }.get(key)
    if candidates is None or not isinstance(value, str) or _chance(value, 8) == 0:
        return value
    return _pick(candidates, value)


def _pick(candidates: Any, value: Any) -> str:
    return str(candidates[_chance(value, len(candidates))])


def _chance(value: Any, sides: int) -> int:
    return zlib.crc32(repr(value).encode(errors="replace")) // 16 % sides
