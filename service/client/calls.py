"""What all methods of the client are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.client.http import Http

Json = dict[str, Any]


class Calls:
    """Requests by the name of their operation; ``_http`` is made by whoever inherits this."""

    _http: Http

    def _get(self, operation: str, query: Mapping[str, object] | None = None, **path: str) -> Json:
        found: Json = self._http.call(operation, path, query=query)
        return found

    def _post(
        self,
        operation: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        **path: str,
    ) -> Json:
        found: Json = self._http.call(operation, path, query=query, body=body)
        return found

    def _change(self, operation: str, body: Mapping[str, Any], version: int, **path: str) -> Json:
        """PATCH or PUT of the ``version`` that was read."""
        found: Json = self._http.call(operation, path, body=dict(body), version=version)
        return found
