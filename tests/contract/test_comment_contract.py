"""Comments: one suite for the ledger in memory and the real one."""

from __future__ import annotations

import pytest
from test_ledger_contract import World, real, world

from loom.clients.comments import Subject
from loom.domain.bead import Bead
from loom.domain.comment import MAX_COMMENT, Comment
from loom.domain.outbox import OutboxKind
from loom.errors import Forbidden, IdempotencyKeyReused, IllegalTransition, Invalid, NotFound

__all__ = ["real", "world"]


def on(bead: Bead) -> Subject:
    return Subject(bead_id=bead.id)


def say(world: World, where: Subject, text: str, by: str = "ada") -> Comment:
    (made,) = world.control.add_comment(where, by, text, "corr").items
    return made


def filed(world: World) -> Bead:
    world.project()
    return world.bead()


def test_a_comment_is_kept_as_it_was_written(world: World) -> None:
    bead = filed(world)
    made = say(world, on(bead), "**why**\n\n- `é`\t<b>")
    assert (made.project_id, made.bead_id, made.author, made.text) == (
        "alpha", bead.id, "ada", "**why**\n\n- `é`\t<b>",
    )  # fmt: skip
    assert world.control.list_comments(on(bead)).items == (made,)
    assert world.control.get_bead(bead.id).version == 1


def test_comments_on_a_project_stand_apart_from_those_on_its_beads(world: World) -> None:
    bead = filed(world)
    say(world, on(bead), "of the bead")
    whole = say(world, Subject("alpha"), "of the project")
    assert whole.bead_id == ""
    assert world.control.list_comments(Subject("alpha")).items == (whole,)


def test_comments_are_listed_in_pages_oldest_first(world: World) -> None:
    bead = filed(world)
    said = [say(world, on(bead), text) for text in "abc"]
    first = world.control.list_comments(on(bead), 2)
    second = world.control.list_comments(on(bead), 2, first.next_cursor)
    assert [*first.items, *second.items] == said
    assert second.next_cursor == ""


def test_a_repeated_request_adds_one_comment(world: World) -> None:
    where = on(filed(world))
    made = [
        world.control.add_comment(where, "ada", "once", "c", idempotency=("key", "f"))
        for _ in range(2)
    ]
    assert [each.replayed for each in made] == [False, True]
    assert made[0].items == made[1].items
    assert len(world.control.list_comments(where).items) == 1
    with pytest.raises(IdempotencyKeyReused):
        world.control.add_comment(where, "ada", "twice", "c", idempotency=("key", "g"))


def test_who_wrote_a_comment_can_edit_and_delete_it(world: World) -> None:
    where = on(filed(world))
    made = say(world, where, "wrnog")
    edited = world.control.edit_comment(where, made.id, "ada", "wrong")
    assert (edited.text, edited.edited_at is not None) == ("wrong", True)
    deleted = world.control.delete_comment(where, made.id, "ada")
    assert (deleted.text, deleted.deleted_at is not None) == ("", True)
    assert world.control.list_comments(where).items == (deleted,), "it keeps its place"
    with pytest.raises(IllegalTransition):
        world.control.edit_comment(where, made.id, "ada", "again")


def test_nobody_changes_the_comment_of_another(world: World) -> None:
    where = on(filed(world))
    made = say(world, where, "mine")
    with pytest.raises(Forbidden):
        world.control.edit_comment(where, made.id, "bob", "his")
    with pytest.raises(Forbidden):
        world.control.delete_comment(where, made.id, "bob")
    assert world.control.list_comments(where).items == (made,)


def test_a_comment_is_found_on_its_own_bead_alone(world: World) -> None:
    bead = filed(world)
    made = say(world, on(bead), "here")
    for elsewhere in (on(world.bead()), Subject("alpha")):
        with pytest.raises(NotFound):
            world.control.delete_comment(elsewhere, made.id, "ada")


def test_what_is_not_there_cannot_be_spoken_of(world: World) -> None:
    for where in (Subject(bead_id="bd-nowhere"), Subject("nowhere")):
        with pytest.raises(NotFound):
            say(world, where, "x")
        with pytest.raises(NotFound):
            world.control.list_comments(where)


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_COMMENT + 1), "a\0b"])
def test_a_comment_that_breaks_a_rule_is_invalid(world: World, text: str) -> None:
    where = on(filed(world))
    with pytest.raises(Invalid):
        say(world, where, text)
    assert world.control.list_comments(where).items == ()


def test_a_comment_is_told_of(world: World) -> None:
    bead = filed(world)
    made = say(world, on(bead), "x" * 1000)
    rows = world.dispatcher.lease_outbox("d", 100)
    (told,) = [r for r in rows if r.kind is OutboxKind.EVENT and r.type == "comment.created"]
    assert told.bead_id == bead.id
    assert told.payload == {"comment_id": made.id, "author": "ada", "text": "x" * 200}
