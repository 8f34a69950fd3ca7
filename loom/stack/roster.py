"""The projects that the control plane knows, as anyone with the API token may list them."""

from __future__ import annotations

import httpx

from loom.domain.identity import check_project_id
from loom.errors import Unavailable
from loom.stack import credentials
from loom.stack.home import Home
from loom.stack.ports import HOST, Ports
from loom.stack.probe import TRUSTS_NOBODY

TIMEOUT_S = 5.0


def project_ids(home: Home, ports: Ports) -> list[str]:
    """The id of every project; raises Unavailable when the control plane does not tell."""
    url = f"http://{HOST}:{ports.of('control')}/api/v1/projects"
    headers = {"Authorization": f"Bearer {home.secret(credentials.API_TOKEN)}"}
    found: list[str] = []
    cursor = ""
    try:
        with httpx.Client(
            headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=TRUSTS_NOBODY
        ) as client:
            while True:
                answer = client.get(url, params={"cursor": cursor} if cursor else {})
                answer.raise_for_status()
                page = answer.json()
                # An id becomes a path, a user and a program: it is checked here too.
                found += [check_project_id(str(project["id"])) for project in page["projects"]]
                cursor = page.get("next_cursor") or ""
                if not cursor:
                    return found
    except httpx.HTTPStatusError as error:
        raise Unavailable(
            f"{url} answers {error.response.status_code}: {error.response.text[:300]}"
        ) from error
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise Unavailable(
            f"{url} does not list projects: {error or type(error).__name__}"
        ) from error
