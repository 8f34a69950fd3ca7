"""The commit message of a bead, whatever its texts hold."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from loom.domain.bead import Bead
from loom.domain.lifecycle import State
from workers import commit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRAILERS = "Bead-Id: bd-1\nCorrelation-Id: corr-1\n"


def message(title: str, description: str = "", correlation_id: str = "corr-1") -> str:
    bead = Bead(
        id="bd-1", project_id="demo", title=title, state=State.IN_PROGRESS, epoch=1, version=2,
        correlation_id=correlation_id, created_at=NOW, updated_at=NOW, description=description,
    )  # fmt: skip
    return commit.message(bead).decode()


def test_a_message_is_the_title_the_description_and_the_trailers() -> None:
    assert message("Mend it", "It was broken.\n") == f"Mend it\n\nIt was broken.\n\n{TRAILERS}"


def test_a_bead_without_description_has_no_body() -> None:
    assert message("Mend it") == f"Mend it\n\n{TRAILERS}"


def test_a_blank_title_is_replaced_by_the_beads_id() -> None:
    assert message(" \n\t ") == f"Bead bd-1\n\n{TRAILERS}"


def test_a_correlation_id_cannot_add_a_trailer() -> None:
    assert message("T", correlation_id="c\nSigned-off-by: me").endswith(
        "Correlation-Id: c Signed-off-by: me\n"
    )


@given(st.text(), st.text())
def test_no_text_reaches_the_trailers_or_leaves_more_than_one_title_line(
    title: str, description: str
) -> None:
    said = message(title, description)
    first, blank, *_ = said.split("\n")
    assert first
    assert not blank
    assert said.endswith(f"\n\n{TRAILERS}")
    assert "\0" not in said
