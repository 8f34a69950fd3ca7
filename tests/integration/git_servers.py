"""Repositories behind real servers: git's own http-backend over TLS, and an ssh server."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import trustme

USER, TOKEN = "x-access-token", "tok-5f3c9e2ab71d"


class Https:
    """git http-backend over TLS on a loopback port, for one user. seen: Authorization headers."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.seen: list[str] = []
        authority = trustme.CA()
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.certificate))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(root))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, name: str) -> str:
        """The address of a repository below the root."""
        return f"https://localhost:{self._server.server_address[1]}/{name}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self, root: Path) -> type[BaseHTTPRequestHandler]:
        seen = self.seen
        wanted = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                encoded = self.headers.get("Transfer-Encoding", "")
                self._answer(
                    self._chunks()
                    if encoded == "chunked"
                    else self.rfile.read(int(self.headers.get("Content-Length", "0")))
                )

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                return body

            def _answer(self, body: bytes) -> None:
                given = self.headers.get("Authorization", "")
                seen.append(given)
                if given != wanted:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                done = subprocess.run(
                    ["git", "-c", "safe.directory=*", "http-backend"],
                    input=body,
                    capture_output=True,
                    check=True,
                    env={
                        "PATH": os.environ["PATH"],
                        "GIT_PROJECT_ROOT": str(root),
                        "GIT_HTTP_EXPORT_ALL": "1",
                        "GIT_CONFIG_NOSYSTEM": "1",
                        "HOME": str(root),
                        "PATH_INFO": path,
                        "QUERY_STRING": query,
                        "REQUEST_METHOD": self.command,
                        "REMOTE_USER": USER,
                        "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                        "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                        "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                        "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    },
                )
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
                self.send_response(int(fields.pop("Status", "200").split()[0]))
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        return Handler


class Ssh:
    """An ssh server on a loopback port that runs git, and takes one key. asked: its commands."""

    def __init__(self, public_key: Path) -> None:
        self.asked: list[str] = []
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._run(self._listen(public_key))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.get_port())

    @property
    def known_hosts(self) -> str:
        """The line of a known_hosts file for it."""
        key = self.host_key.export_public_key().decode().strip()
        return f"[127.0.0.1]:{self.port} {key}\n"

    def url(self, path: Path) -> str:
        """The address of a repository."""
        return f"ssh://git@127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        """Stop."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _listen(self, public_key: Path) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self.host_key],
            authorized_client_keys=str(public_key),
            process_factory=self._serve,
            encoding=None,
        )

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.asked.append(command)
        program, _, path = command.partition(" ")
        child = await asyncio.create_subprocess_exec(
            *("git", "-c", "safe.directory=*", program.removeprefix("git-"), path.strip("'")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert child.stdin and child.stdout and child.stderr
        giving = asyncio.ensure_future(_pass_on(process.stdin, child.stdin))
        await asyncio.gather(
            _pass_on(child.stdout, process.stdout), _pass_on(child.stderr, process.stderr)
        )
        giving.cancel()
        process.exit(await child.wait())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


async def _pass_on(source: Any, sink: Any) -> None:
    """Copy until the end, and close a child's stdin then."""
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
    if isinstance(sink, asyncio.StreamWriter):
        sink.close()


@contextmanager
def https(root: Path, folder: Path) -> Iterator[Https]:
    """A running server."""
    server = Https(root, folder)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def ssh(public_key: Path) -> Iterator[Ssh]:
    """A running server."""
    server = Ssh(public_key)
    try:
        yield server
    finally:
        server.close()
