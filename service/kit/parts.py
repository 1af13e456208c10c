"""What every process of the service is made of, put together in one place."""

from __future__ import annotations

from dataclasses import dataclass

from service.kit.artifacts import ArtifactStore
from service.kit.database import Database
from service.settings import Settings


@dataclass(frozen=True)
class Parts:
    """Settings, database and artifact store."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore

    @classmethod
    def of(cls, settings: Settings) -> Parts:
        """As the settings say; makes the data folder if the database is embedded."""
        if settings.database_url is None:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = Database(settings.resolved_database_url, pool_size=10)
        return cls(settings, database, ArtifactStore(settings.resolved_artifacts_url))
