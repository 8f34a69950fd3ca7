"""The connectors service's own settings, and how every other service reaches it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings

MIB = 1024**2


class ConnectorsSettings(Settings):
    """LOOM_CONNECTORS_*: the connectors service alone has these.

    tokens_file: a line `<caller> <sha256 of its token>` for each caller. folder: where the store
    `file` keeps artifacts, and where every store keeps what is still being received.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_CONNECTORS_")

    listen: str = "127.0.0.1:8091"
    tokens_file: Path
    threads: int = Field(default=24, ge=2)
    store: Literal["file", "s3"] = "file"
    folder: Path
    max_artifact_bytes: int = Field(default=256 * MIB, ge=1, le=5 * 1024 * MIB)
    """Of one artifact. 5 GiB is the most that S3 takes in one request."""
    max_attempt_bytes: int = Field(default=1024 * MIB, ge=1)
    """Of all that one attempt sends, counted from the service's start."""
    keep_free_bytes: int = Field(default=1024 * MIB, ge=0)
    """Nothing is taken that would leave less than this free on the folder's disk."""
    keep_days: float = Field(default=90.0, ge=0)
    """Days after which an artifact is removed that nobody sent again; 0: never."""
    sweep_every_s: float = Field(default=3_600.0, gt=0)
    calls_per_project: int = Field(default=6, ge=1)
    """How many transfers of one project's agents may run at once, so that others find a thread."""


class S3Settings(Settings):
    """LOOM_S3_*: the bucket of the store `s3`, which has to be there, and how it is reached.

    endpoint: such as https://objects.example:9000; empty for AWS. prefix: of every key.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_S3_")

    endpoint: str = ""
    region: str = "us-east-1"
    bucket: str
    prefix: str = "artifacts/"
    access_key: str
    secret_key: SecretStr
    path_style: bool = True
    """The bucket stands in the path and not in the host's name, as most stores but AWS want it."""
    ca_file: str = ""
    """PEM of whoever vouches for the endpoint's certificate, where the system does not know it."""
    connect_timeout_s: float = Field(default=5.0, gt=0)
    read_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds without a byte."""
    tries: int = Field(default=4, ge=1)
    """How often a request is made in all."""


class ArtifactClientSettings(Settings):
    """LOOM_ARTIFACTS_*: how a service calls the connectors service.

    target: a name as gRPC takes it; empty where there is none, so that no artifact is kept.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_ARTIFACTS_")

    target: str = ""
    token: SecretStr = SecretStr("")
    deadline_s: float = Field(default=5.0, gt=0)
    """For a call that moves no file."""
    transfer_s: float = Field(default=300.0, gt=0, le=600.0)
    """For one file."""
