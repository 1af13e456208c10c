"""What an operator can set, from the environment (``NEXTROUND_...``) or the command line."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting has a default that suits one laptop."""

    model_config = SettingsConfigDict(env_prefix="NEXTROUND_", extra="ignore")

    data_dir: Path = Field(
        Path("data"), description="Folder of the embedded database and the artifacts."
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL; default: SQLite in data_dir."
    )
    artifacts_url: str | None = Field(
        None, description="file:// URL or folder that all workers share; default: in data_dir."
    )
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = Field("auto", description="auto, cpu or cuda:N; for workers only.")
    worker_name: str | None = Field(
        None, description="Stable name of a worker; default: host:device."
    )
    max_body_bytes: int = Field(8 * 2**20, description="Largest JSON request.")
    max_upload_bytes: int = Field(64 * 2**20, description="Largest measurement table.")
    max_upload_rows: int = 1_000_000
    max_archive_bytes: int = Field(2**30, description="Largest archive of a campaign, packed.")
    max_dataset_bytes: int = Field(
        2 * 2**30, description="Largest file of responses or time courses."
    )
    max_archive_unpacked_bytes: int = Field(2**33, description="The same, unpacked.")
    job_poll_s: float = Field(0.25, description="How often a worker looks for jobs.")
    lease_s: float = Field(30.0, description="A worker silent for this long has lost its jobs.")
    reap_every_s: float = Field(10.0, description="How often a worker looks for dead colleagues.")
    webhook_private: Literal["refuse", "allow"] = Field(
        "refuse", description="Whether webhooks may go to the private networks listed next."
    )
    webhook_private_networks: str = Field(
        "", description="Networks such as 10.20.0.0/16,192.168.7.5/32 where a LIMS listens."
    )
    retention_days: float = Field(90.0, description="How long finished jobs keep their traces.")

    @field_validator("webhook_private_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for network in text.split(","):
            if network.strip():
                ip_network(network.strip())
        return text

    @property
    def resolved_database_url(self) -> str:
        """The database in force."""
        if self.database_url:
            return self.database_url
        return f"sqlite:///{(self.data_dir / 'nextround.db').absolute()}"

    @property
    def resolved_artifacts_url(self) -> str:
        """The artifact store in force."""
        return self.artifacts_url or (self.data_dir / "artifacts").absolute().as_uri()
