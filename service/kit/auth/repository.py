"""Keys of one workspace, and the workspace itself."""

from __future__ import annotations

from service.kit.auth.tables import ApiKey
from service.kit.repository import Repository


class ApiKeyRepository(Repository[ApiKey]):
    entity = ApiKey
    noun = "API key"
