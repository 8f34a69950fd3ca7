"""The WSGI application, put together from its parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from flask import Flask, Response, jsonify
from opentelemetry.instrumentation.flask import FlaskInstrumentor

from loom import __version__
from loom.clients.representation import API
from loom.control import (
    agents,
    artifacts,
    beads,
    broker,
    comments,
    correlation,
    deadletters,
    docs,
    entrance,
    events,
    handling,
    imports,
    interventions,
    livelog,
    numbers,
    pages,
    problem,
    projects,
    readiness,
    reconciliation,
    statistics,
    status,
    visible,
    webhooks,
)
from loom.control.answers.system import IndexOut
from loom.control.cookies import Jar
from loom.control.feed import Feed
from loom.control.followers import Followers
from loom.control.ledger import Ledger
from loom.control.operation import Content, operation
from loom.control.passwords import Passwords
from loom.settings import ControlSettings
from loom.settings.oidc import OidcSettings


def create_app(
    ledger: Ledger,
    settings: ControlSettings,
    parts: Mapping[str, readiness.Probe] | None = None,
    read_depths: reconciliation.Read = reconciliation.no_broker,
    breakers: Mapping[str, Callable[[], str]] | None = None,
    *,
    store: artifacts.Artifacts | None = None,
    stopping: threading.Event | None = None,
    links: pages.Links | None = None,
    oidc: OidcSettings | None = None,
    look_at_broker: broker.Look = broker.nobody_tells,
    passwords: Passwords | None = None,
) -> Flask:
    """The HTTP API over a ledger. parts: what /readyz asks, by name. read_depths: the
    depths of the broker's queues. breakers: the circuit breakers' states that /readyz tells.
    store: of artifacts. stopping: ends the streams of whoever follows a log. links: to pages that
    are not Loom's own. oidc: who else vouches for people. look_at_broker: how the broker itself
    is. passwords: how they are hashed.

    Make it after a fork: the ledger's channel and the tracer must not cross one.
    """
    app = Flask("loom.control", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # An address that is not quite right is a 404 with a document, not a redirect.
    app.url_map.merge_slashes = False
    numbers.install(app)
    # The order of the hooks: the trace first, then the correlation id, then the door.
    FlaskInstrumentor.instrument_app(  # type: ignore[no-untyped-call]
        app, excluded_urls="healthz,readyz", enable_commenter=False
    )
    correlation.install(app)
    door = entrance.install(app, ledger, settings, oidc, passwords)
    seen = visible.of(ledger)
    problem.install(app, pages.frame.shown)
    app.register_blueprint(readiness.routes(parts or {}, breakers or {}))
    app.register_blueprint(docs.routes(Jar(https=settings.https).session))
    app.register_blueprint(door.pages)
    followers = Followers(ledger, settings.followers, stopping)
    counted, watched = statistics.Counted(ledger), broker.Watched(look_at_broker)
    for blueprint in (
        projects.routes(seen),
        beads.routes(seen),
        handling.routes(ledger),
        comments.routes(ledger),
        imports.routes(ledger),
        artifacts.routes(ledger, store or artifacts.NoArtifacts()),
        deadletters.routes(seen),
        interventions.routes(ledger),
        livelog.routes(ledger, followers),
        events.routes(ledger, Feed(ledger, stopping), followers),
        webhooks.routes(ledger),
        reconciliation.routes(ledger, read_depths),
        statistics.routes(counted),
        broker.routes(watched),
        status.routes(seen, counted, read_depths, parts or {}, breakers or {}),
        agents.routes(seen),
        *door.routes(ledger),
    ):
        app.register_blueprint(blueprint, url_prefix=API)

    desk = pages.Desk(
        ledger, counted, read_depths=read_depths, parts=parts or {}, breakers=breakers or {},
        links=links or pages.Links(), broker=watched,
    )  # fmt: skip
    overview = pages.install(app, desk)

    @app.get("/")
    @operation("Say what is where", answers={200: (IndexOut, Content("text/html"))})
    def index() -> Response:
        if pages.frame.wanted():
            return overview()
        return jsonify(
            {
                "service": "loom",
                "version": __version__,
                "links": {
                    "projects": f"{API}/projects",
                    "beads": f"{API}/beads",
                    "dead_letters": f"{API}/dead-letters",
                    "audit": f"{API}/audit",
                    "agents": f"{API}/agents",
                    "events": f"{API}/events",
                    "webhooks": f"{API}/webhooks",
                    "status": f"{API}/status",
                    "description": f"{API}/openapi.json",
                    "docs": "/api/docs",
                    "health": "/healthz",
                    "readiness": "/readyz",
                },
            }
        )

    return app
