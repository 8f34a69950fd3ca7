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
from loom.clients.hooks import HookCalls
from loom.clients.importing import ImportingCalls
from loom.clients.listing import filter_to_query
from loom.clients.operating import OperatingCalls
from loom.clients.representation import (
    API,
    amendment_to_json,
    attempt_from_json,
    bead_from_json,
    bead_path,
    new_bead_to_json,
    new_project_to_json,
    project_change_to_json,
    project_from_json,
    project_path,
    why_from_json,
)
from loom.domain.bead import Amendment, Attempt, Bead, NewBead
from loom.domain.listing import ALL, BeadFilter, BeadSort
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

    def document(self) -> dict[str, Any]:
        """The API's own description, in OpenAPI 3.1."""
        return dict(self._get(f"{API}/openapi.json"))

    def headers(self) -> dict[str, str]:
        """What a request of any other client has to carry to be let in."""
        return {"Authorization": self._http.headers["Authorization"]}

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
        limit: int = 50, cursor: str = "", *, where: BeadFilter = ALL,
        sort: BeadSort = BeadSort.NEWEST,
    ) -> Page[Bead]:  # fmt: skip
        """Beads that where and the other words show. Raises NotFound (the project), Invalid."""
        path = f"{project_path(project_id)}/beads" if project_id else f"{API}/beads"
        wanted = filter_to_query(where) | {
            name: value
            for name, value in (("state", list(states)), ("resolution", resolution))
            if value
        }
        page = self._get(path, sort=sort.value, limit=limit, cursor=cursor, **wanted)
        return Page(tuple(map(bead_from_json, page["beads"])), page["next_cursor"] or "")

    def change_project(
        self, project_id: str, change: ProjectChange, version: int = 0
    ) -> Project:  # fmt: skip
        """Edit a project: at this version, or (0) whichever it has.

        Raises NotFound, PreconditionFailed (another version), Invalid, IllegalTransition.
        """
        answer = self._edit(project_path(project_id), project_change_to_json(change), version)
        return project_from_json(answer.json())

    def steer_project(self, project_id: str, act: str, reason: str) -> Project:
        """Pause, drain, resume, close or reopen a project; it as it is then.

        Raises NotFound, IllegalTransition, Stale (somebody else changed it at the same moment).
        """
        answer = self._post(f"{project_path(project_id)}/{act}", {"reason": reason}, "")
        return project_from_json(answer.json())

    def amend_bead(self, bead_id: str, amendment: Amendment, version: int = 0) -> Bead:
        """Edit a bead: at this version, or (0) whichever it has.

        Raises NotFound, PreconditionFailed (another version), Invalid, IllegalTransition.
        """
        answer = self._edit(bead_path(bead_id), amendment_to_json(amendment), version)
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

    def _edit(self, path: str, body: Any, version: int) -> httpx.Response:
        tag = f'"{version}"' if version else "*"
        return self._ask("PATCH", path, json=body, headers={"If-Match": tag})

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
