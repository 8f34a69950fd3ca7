"""The control plane, as the CLI, the demo and any program in Python sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from loom.clients import reconciliation
from loom.clients.accounts import AccountCalls
from loom.clients.agents import AgentCalls
from loom.clients.answers import Filed, Page
from loom.clients.commenting import CommentingCalls
from loom.clients.downloads import DownloadCalls
from loom.clients.eventstream import EventStreamCalls
from loom.clients.following import FollowingCalls
from loom.clients.importing import ImportingCalls
from loom.clients.hooks import HookCalls
from loom.clients.operating import OperatingCalls
from loom.clients.representation import (
    API,
    amendment_to_json,
    attempt_from_json,
    bead_from_json,
    bead_path,
    new_bead_to_json,
    new_project_to_json,
    project_from_json,
    project_path,
    why_from_json,
)
from loom.domain.bead import Amendment, Attempt, Bead, NewBead
from loom.domain.project import Project, ProjectChange
from loom.domain.reconciliation import Reconciliation
from loom.domain.waiting import Why
from loom.errors import BY_CODE, DeadlineExceeded, Internal, LoomError, Unavailable

TIMEOUT_S = 15.0


class ControlClient(
    AccountCalls,
    DownloadCalls,
    OperatingCalls,
    AgentCalls,
    FollowingCalls,
    EventStreamCalls,
    HookCalls,
    CommentingCalls,
    ImportingCalls,
):
    """Calls of the HTTP API; every method may raise whatever the control plane answers.

    Raises Unavailable when it cannot be reached and DeadlineExceeded when it does not answer.
    """

    def __init__(
        self, url: str, token: str, *, timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        """url: without a path, as http://127.0.0.1:8080. transport: another way than a socket."""
        self.url = url.rstrip("/")
        # The token is for Loom alone: no proxy of the environment gets to see it.
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create_project(self, project: Project, idempotency_key: str = "") -> Filed[Project]:
        """Make a project. Raises Conflict, Invalid."""
        answer = self._post(f"{API}/projects", new_project_to_json(project), idempotency_key)
        return Filed((project_from_json(answer.json()),), _replayed(answer))

    def get_project(self, project_id: str) -> Project:
        """One project. Raises NotFound."""
        return project_from_json(self._get(project_path(project_id)))

    def list_projects(self, limit: int = 100, cursor: str = "") -> Page[Project]:
        """Projects in the order of their ids."""
        page = self._get(f"{API}/projects", limit=limit, cursor=cursor)
        return Page(tuple(map(project_from_json, page["projects"])), page["next_cursor"] or "")

    def create_bead(self, project_id: str, bead: NewBead, idempotency_key: str = "") -> Bead:
        """File one bead. Raises NotFound (the project), Conflict (the id), Invalid."""
        answer = self._post(
            f"{project_path(project_id)}/beads", new_bead_to_json(bead), idempotency_key
        )
        return bead_from_json(answer.json())

    def create_beads(
        self, project_id: str, beads: Sequence[NewBead], idempotency_key: str = ""
    ) -> Filed[Bead]:
        """File beads, all or none. Raises NotFound (the project), Conflict (an id), Invalid."""
        answer = self._post(
            f"{project_path(project_id)}/beads",
            [new_bead_to_json(bead) for bead in beads],
            idempotency_key,
        )
        return Filed(tuple(map(bead_from_json, answer.json()["beads"])), _replayed(answer))

    def get_bead(self, bead_id: str) -> Bead:
        """One bead. Raises NotFound."""
        return bead_from_json(self._get(bead_path(bead_id)))

    def list_beads(
        self, project_id: str = "", states: Sequence[str] = (), resolution: str = "",
        limit: int = 50, cursor: str = "",
    ) -> Page[Bead]:  # fmt: skip
        """Beads, newest first. Raises NotFound (the project)."""
        path = f"{project_path(project_id)}/beads" if project_id else f"{API}/beads"
        page = self._get(
            path, state=list(states), resolution=resolution, limit=limit, cursor=cursor
        )
        return Page(tuple(map(bead_from_json, page["beads"])), page["next_cursor"] or "")

    def change_project(self, project_id: str, change: ProjectChange) -> Project:
        """Pause, drain or resume a project, or set its limits. Raises NotFound, Invalid."""
        answer = self._ask("PATCH", project_path(project_id), json=dict(change.given()))
        return project_from_json(answer.json())

    def amend_bead(self, bead_id: str, amendment: Amendment, version: int = 0) -> Bead:
        """Change what a bead waits for. Raises NotFound, Stale, Invalid, IllegalTransition."""
        meant = {"version": version} if version else {}
        answer = self._ask("PATCH", bead_path(bead_id), json=amendment_to_json(amendment) | meant)
        return bead_from_json(answer.json())

    def explain_bead(self, bead_id: str) -> Why:
        """Why a bead is not running, and what would make it run. Raises NotFound."""
        return why_from_json(self._get(f"{bead_path(bead_id)}/why"))

    def list_attempts(self, bead_id: str) -> tuple[Attempt, ...]:
        """Every try at a bead, oldest first. Raises NotFound."""
        page = self._get(f"{bead_path(bead_id)}/attempts")
        return tuple(map(attempt_from_json, page["attempts"]))

    def reconcile(self, *, repair: bool = False, grace_s: float | None = None) -> Reconciliation:
        """Compare ledger and broker, and mend if asked. Raises Unavailable, Invalid."""
        asked = {"repair": repair} | ({} if grace_s is None else {"grace_s": grace_s})
        return reconciliation.from_json(self._post(reconciliation.PATH, asked, "").json())

    def _get(self, path: str, **query: str | int | list[str]) -> Any:
        wanted = {key: value for key, value in query.items() if value not in ("", [])}
        return self._ask("GET", path, params=wanted).json()

    def _post(self, path: str, body: Any, idempotency_key: str) -> httpx.Response:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._ask("POST", path, json=body, headers=headers)

    @contextmanager
    def _stream(self, path: str, **more: Any) -> Iterator[httpx.Response]:
        """The answer to a GET, its body as it comes."""
        with (
            self._transport_errors("GET", path),
            self._http.stream("GET", path, **more) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise _error(answer)
            yield answer

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        with self._transport_errors(method, path):
            answer = self._http.request(method, path, **more)
        if answer.is_success:
            return answer
        raise _error(answer)

    @contextmanager
    def _transport_errors(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"{self.url} did not answer {method} {path} in time") from error
        except httpx.TransportError as error:
            raise Unavailable(
                f"nothing answers at {self.url} ({error or type(error).__name__}). `loom status` "
                "says what runs here, `loom up` starts it"
            ) from error


def _replayed(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("Idempotency-Replayed") == "true")


def _error(answer: httpx.Response) -> LoomError:
    """The error that a problem document tells of."""
    asked = f"{answer.request.method} {answer.request.url}"
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, Mapping) or document.get("code") not in BY_CODE:
        return Internal(
            f"{asked} is answered by {answer.status_code} and no problem document: is this Loom's "
            f"control plane? It says {answer.text[:200]!r}"
        )
    detail = str(document.get("detail", ""))
    faults = document.get("errors") or []
    if len(faults) > 1:
        detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    data = {"correlation_id": str(document.get("correlation_id", ""))}
    return BY_CODE[str(document["code"])](detail, **data)
