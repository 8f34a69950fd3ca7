"""The order in which tasks leave, as SQL: what loom.domain.priority and .fairness decide."""

from __future__ import annotations

from loom.domain.priority import AGEING_S, MAX_PRIORITY

RANK = (
    "greatest({bead}.created_at, {bead}.not_before) + {priority} * interval '"
    f"{AGEING_S:g} seconds'"
)
"""priority.rank, of the bead by that name in the statement, with that priority."""

LAST_DUE = f"interval '{MAX_PRIORITY * AGEING_S:g} seconds'"
"""What is due ranks at most this much after now: how far an index has to be read."""

READY = f"""o.kind = 'task' AND NOT o.gated AND o.project_id = {{project}}.id
       AND o.rank <= {{now}} + {LAST_DUE} AND o.available_at <= {{now}}
       AND ({{project}}.state = 'active' OR {{project}}.state = 'draining' AND o.attempt > 1)"""
"""The rows of outbox o that the project by that name may send at that moment, leased or not."""

CLOCK = "(SELECT coalesce(max(started), 0) FROM project)"
"""fairness.clock."""

SENT = """(SELECT count(*) FROM bead b
                   WHERE b.project_id = {project}.id AND b.state = 'open'
                     AND b.dispatched_epoch = b.epoch + 1)"""
"""How many beads of the project stand in its queue."""

LEASED = """(SELECT count(*) FROM outbox o
                   WHERE o.project_id = {project}.id AND o.kind = 'task'
                     AND o.leased_until > {now})"""
"""How many are on their way there."""

IN_PROGRESS = """(SELECT count(*) FROM bead b
                   WHERE b.project_id = {project}.id AND b.state = 'in_progress')"""
"""How many an agent works at."""
