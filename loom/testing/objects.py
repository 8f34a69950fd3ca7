"""A real S3 server of a test's own: SeaweedFS, which checks signatures, gone when it ends."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loom.settings.connectors import S3Settings
from loom.testing.infrastructure import free_ports

START_S = 60.0
BUCKET = "loom"


@contextmanager
def running_s3() -> Iterator[S3Settings]:
    """Start the server with one empty bucket; how it is reached."""
    folder = Path(tempfile.mkdtemp(prefix="loom-s3-"))
    ports = list(free_ports().all().values())[:8]
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    identity = {
        "name": "loom",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    argv = [
        *(str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server"),
        *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-filer", "-s3"),
        *("-volume.max=8", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
        *("-volume.preStopSeconds=0", "-s3.port.iceberg=0"),
        *("-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"),
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=False)),
        *(f"-{name}.grpc={port}" for name, port in zip(names, ports[4:], strict=False)),
        f"-filer.localSocket={folder / 'filer.sock'}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env={"HOME": str(folder), "PATH": os.environ["PATH"], "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        settings = S3Settings(
            endpoint=f"http://127.0.0.1:{ports[3]}",
            bucket=BUCKET,
            access_key=key,
            secret_key=secret,
            connect_timeout_s=2,
            read_timeout_s=10,
            tries=2,
        )
        _make_bucket(settings, process, folder / "log")
        yield settings
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _make_bucket(settings: S3Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    """Make the bucket, once the server can."""
    s3 = boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key.get_secret_value(),
        region_name=settings.region,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    give_up_at = time.monotonic() + START_S
    made = False
    while True:
        try:
            if not made:
                s3.create_bucket(Bucket=settings.bucket)
                made = True
            # It takes requests some time before it can keep anything.
            s3.put_object(Bucket=settings.bucket, Key="first", Body=b"first")
            s3.delete_object(Bucket=settings.bucket, Key="first")
        except (BotoCoreError, ClientError) as error:
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise AssertionError(f"no S3 server: {error}\n{log.read_text()[-3000:]}") from error
            time.sleep(0.1)
        else:
            return
