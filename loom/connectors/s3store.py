"""The store `s3`: `<prefix><project>/<hash>` in a bucket of any S3-compatible service."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loom.connectors.store import PIECE, Held, missing
from loom.errors import Unavailable
from loom.settings.connectors import S3Settings

BATCH = 1_000
"""Keys that one DeleteObjects takes."""
ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
SERVICE = "the object store"


class S3Store:
    """Keeps artifacts as objects, each made by one request, so that none is ever seen in part."""

    def __init__(self, settings: S3Settings, connections: int) -> None:
        """connections: how many threads may use it at once."""
        self._bucket, self._prefix = settings.bucket, settings.prefix
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            region_name=settings.region,
        )
        self._s3: Any = session.client(
            "s3",
            endpoint_url=settings.endpoint or None,
            verify=settings.ca_file or None,
            config=Config(
                signature_version="s3v4",
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.read_timeout_s,
                retries={"total_max_attempts": settings.tries, "mode": "standard"},
                max_pool_connections=connections,
                # Not every store knows the checksums that boto3 adds by itself.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if settings.path_style else "virtual"},
                proxies={},
            ),
        )

    def check(self) -> None:
        """Raise Unavailable while the bucket cannot be reached, or is not there."""
        with self._named_errors():
            self._s3.head_bucket(Bucket=self._bucket)

    def find(self, project_id: str, sha256: str) -> Held | None:
        """What there is of the artifact."""
        with self._named_errors():
            try:
                found = self._s3.head_object(Bucket=self._bucket, Key=self._key(project_id, sha256))
            except ClientError as error:
                if _code(error) in ABSENT:
                    return None
                raise
        return Held(project_id, sha256, found["ContentLength"], found["LastModified"])

    def keep(self, project_id: str, sha256: str, received: Path) -> None:
        """Put the file as one object; the store checks the hash too, where it knows how."""
        with self._named_errors(), received.open("rb") as body:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=self._key(project_id, sha256),
                Body=body,
                ContentLength=received.stat().st_size,
                ContentType="application/octet-stream",
                ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
            )

    def read(self, project_id: str, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """Those bytes of the artifact, in pieces."""
        if length <= 0:
            return
        with self._named_errors():
            try:
                found = self._s3.get_object(
                    Bucket=self._bucket,
                    Key=self._key(project_id, sha256),
                    Range=f"bytes={offset}-{offset + length - 1}",
                )
            except ClientError as error:
                if _code(error) in ABSENT:
                    raise missing(project_id, sha256) from error
                raise
            with closing(found["Body"]) as body:
                yield from body.iter_chunks(PIECE)

    def list(self) -> Iterator[Held]:
        """Every artifact, in the order of the keys."""
        with self._named_errors():
            pages = self._s3.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for found in page.get("Contents", ()):
                    project_id, _, sha256 = found["Key"].removeprefix(self._prefix).partition("/")
                    yield Held(project_id, sha256, found["Size"], found["LastModified"])

    def remove(self, found: Sequence[Held]) -> int:
        """Remove those that were not kept anew."""
        old = []
        for held in found:
            now = self.find(held.project_id, held.sha256)
            if now is not None and now.kept_at <= held.kept_at:
                old.append({"Key": self._key(held.project_id, held.sha256)})
        for start in range(0, len(old), BATCH):
            with self._named_errors():
                self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": old[start : start + BATCH]}
                )
        return len(old)

    def _key(self, project_id: str, sha256: str) -> str:
        return f"{self._prefix}{project_id}/{sha256}"

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """What boto3 raises, after its own tries, as Loom's errors."""
        where = f"{SERVICE}, bucket {self._bucket}"
        try:
            yield
        except ClientError as error:
            words = error.response.get("Error", {}).get("Message", "")
            raise Unavailable(
                f"{where}, refuses {error.operation_name}: {_code(error)} {words}. Look at the "
                "LOOM_S3_ settings of the connectors service",
                service=SERVICE,
            ) from error
        except BotoCoreError as error:
            raise Unavailable(f"{where}, does not answer: {error}", service=SERVICE) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
