"""What keeps another user from code and state, found by looking at the folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom.errors import Unavailable
from loom.stack.reach import Reach, command, survey


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that others can enter, whatever pytest's own folder lets them."""
    return tmp_path.resolve()


def _folder(path: Path, mode: int = 0o755) -> Path:
    path.mkdir(parents=True)
    path.chmod(mode)
    return path


def _below(place: Path, paths: tuple[str, ...]) -> set[str]:
    return {str(Path(path).relative_to(place)) for path in paths if path.startswith(f"{place}/")}


def test_what_lies_in_a_closed_folder_is_wanted_out_of_it(place: Path) -> None:
    _folder(place / "closed", 0o700)
    wanted = _folder(place / "closed" / "deep" / "code")
    reach = survey([wanted])
    assert _below(place, reach.wanted) == {"closed/deep/code"}
    assert any(str(wanted).startswith(folder) for folder in reach.closed)


def test_only_the_topmost_closed_folder_counts(place: Path) -> None:
    outer = _folder(place / "outer", 0o700)
    inner = _folder(outer / "inner", 0o700)
    code = _folder(inner / "code")
    assert len(survey([code]).closed) == 1


def test_what_comes_with_another_is_not_wanted_twice(place: Path) -> None:
    _folder(place / "closed", 0o700)
    code = _folder(place / "closed" / "code")
    inside = _folder(code / "inside")
    assert _below(place, survey([code, inside]).wanted) == {"closed/code"}


def test_a_symbolic_link_on_the_way_is_kept(place: Path) -> None:
    closed = _folder(place / "closed", 0o700)
    real = _folder(closed / "real")
    link = closed / "link"
    link.symlink_to("real")
    reach = survey([link])
    assert _below(place, reach.wanted) == {"closed/real"}
    assert (str(link), "real") in reach.links
    assert str(real) in reach.wanted


def test_a_path_that_is_closed_itself_says_how_to_open_it(place: Path) -> None:
    closed = _folder(place / "code", 0o700)
    with pytest.raises(Unavailable, match="chmod -R go"):
        survey([closed])


def test_a_ring_of_links_is_an_error_and_not_a_loop(place: Path) -> None:
    (place / "a").symlink_to(place / "b")
    (place / "b").symlink_to(place / "a")
    with pytest.raises(Unavailable, match="too many"):
        survey([place / "a"])


def test_nothing_is_put_in_front_where_nothing_is_closed() -> None:
    assert command(survey([Path("/usr/bin")])) == []


def test_a_reach_passes_through_an_argument() -> None:
    reach = Reach(("/root",), ("/root/a", "/root/b"), (("/root/l", "a"),))
    assert Reach.from_json(reach.as_json()) == reach
