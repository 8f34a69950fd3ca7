"""Who links beads names only such as they may see; of others they learn nothing, not even that they
are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from loom.control import access
from loom.domain.access import Role
from loom.domain.bead import Amendment, Bead, NewBead
from loom.errors import Invalid, NotFound


class Beads(Protocol):
    """The call that says in which project a bead is."""

    def get_bead(self, bead_id: str) -> Bead:
        """One bead."""


def check(ledger: Beads, bead_id: str) -> None:
    """Raise NotFound for a bead that is not there, or that who asks may not see."""
    missing = NotFound(f"there is no bead {bead_id}", bead_id=bead_id)
    try:
        project_id = ledger.get_bead(bead_id).project_id
    except NotFound:
        raise missing from None
    if not access.principal().may(Role.VIEWER, project_id):
        raise missing


def check_filed(ledger: Beads, beads: Iterable[NewBead]) -> None:
    """Raise Invalid for what new beads name, apart from each other, and who asks may not see."""
    if access.principal().may(Role.VIEWER):
        # The ledger itself says which of them are not there.
        return
    filed = list(beads)
    own = {bead.id for bead in filed}
    named = (id_ for bead in filed for id_ in (*bead.blocked_by, bead.parent))
    _check_named(ledger, (id_ for id_ in named if id_ and id_ not in own))


def check_amended(ledger: Beads, bead_id: str, amendment: Amendment) -> None:
    """Raise Invalid for what an edit names, the bead did not, and who asks may not see."""
    wanted = {*(amendment.blocked_by or ()), *amendment.wait_for, amendment.parent or ""}
    if wanted <= {""} or access.principal().may(Role.VIEWER):
        return
    before = ledger.get_bead(bead_id)
    _check_named(ledger, sorted(wanted - {"", before.parent, *before.blocked_by}))


def _check_named(ledger: Beads, ids: Iterable[str]) -> None:
    for id_ in dict.fromkeys(ids):
        try:
            check(ledger, id_)
        except NotFound as error:
            raise Invalid(
                f"there is no bead {id_} to be linked with: file that one first, or in the same "
                "request",
                bead_id=id_,
            ) from error
