"""The admin pages: HTML for people, reading as the API reads, and acting through the API alone.

How to add a page
-----------------
1. A module here, named for its noun, with `routes(desk: Desk) -> Blueprint`; it reads through
   `desk.ledger` (loom.control.ledger.Ledger) and writes nothing. Each view carries
   `@operation("…", page=True, needs=Role.…, within=Within.…)` and ends in
   `return frame.page("noun.html", …)`.
2. A template in loom/control/templates: `{% extends layout %}`, `{% import "ui.html" as ui %}`, and
   the blocks `title`, `crumbs` and `main`. `layout` is the whole page for a browser, and `main`
   alone for a page that refreshes itself (it asks the same address with the header `X-Fragment`).
3. The blueprint in `blueprints` below, and a line in loom.control.pages.menu.

What a template has
-------------------
`ui`: macros for icons, states, times, ids, tables, empty states, pagers and actions. Filters:
`ago`, `exact`, `span`, `size`, `number`, `short`. `asset("js/x.js")`: the address of a static file.
`may("operator", project_id)`: whether who looks may do that; show no action they may not take.

Actions are declared, and carried out by static/js/act.js through the API:

    <button data-act="POST" data-to="/api/v1/beads/bd-1/cancel" data-reason="Why is it given up?"
            data-done="Cancelled.">Cancel</button>
    <form data-act="PATCH" data-to="/api/v1/beads/bd-1"><input name="priority" type="number"></form>

`data-confirm`: asked first; `data-reason`: asks for the reason, which travels as `reason`;
`data-body`: JSON that travels as it is; `data-done`: said afterwards; `data-then`: where to go,
with `{id}` put in from the answer. A refusal is shown in the words of its problem document.

Whatever has `id` and `data-live` within `main` is brought up to date when something happened:
`data-live="bead project"` names the kinds of events that concern it (empty: any). Nothing is
inline: no script, no style, no `style` attribute; a length that is data goes into an attribute of
SVG, or into `<progress>` or `<meter>`. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Flask, Response

from loom.control.pages import (
    agents,
    assets,
    bead,
    beads,
    deadletters,
    frame,
    overview,
    people,
    projects,
    queues,
    records,
    services,
    turns,
    webhooks,
)
from loom.control.pages.desk import Desk, Links

__all__ = ["Desk", "Links", "frame", "install"]


def blueprints(desk: Desk) -> Sequence[Blueprint]:
    """Every page but the overview."""
    nouns = (
        beads, bead, agents, projects, queues, deadletters, services, records, webhooks, people,
    )  # fmt: skip
    return tuple(noun.routes(desk) for noun in nouns)


def install(app: Flask, desk: Desk) -> Callable[[], Response]:
    """Serve the pages and what they are made of; gives the view of the overview, which shares its
    address with the API's index.
    """
    frame.install(app, desk)
    turns.install(app)
    for blueprint in (assets.routes(), *blueprints(desk)):
        app.register_blueprint(blueprint)
    return overview.view(desk)
