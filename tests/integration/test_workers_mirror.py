"""The cached copy of a repository: fetched once, shared, mended, and left to those who use it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_stand import BROKEN, git
from repository_bench import Bench, fails

from loom.domain.evidence import FailureClass
from workers.command import Leash
from workers.locks import Lock
from workers.mirror import PACKS, Quota, make_room

WORK, INFRA = FailureClass.WORK, FailureClass.INFRA


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _check_out(bench: Bench, quota: Quota | None = None) -> str:
    with bench.attempt(quota=quota) as at:
        sha = at.repository.check_out()
        assert (at.checkout / "sums.py").read_text() == BROKEN
        return sha


def _generations(bench: Bench) -> list[Path]:
    return sorted(bench.mirrors.glob("*/[0-9]*"))


def _refs(generation: Path) -> list[str]:
    listed = git("for-each-ref", "--format=%(refname)", cwd=generation / "repository.git")
    return listed.splitlines()


def test_one_mirror_serves_every_attempt_and_follows_its_repository(bench: Bench) -> None:
    git("branch", "gone", "main", cwd=bench.upstream)
    git("branch", "agent/bd-9", "main", cwd=bench.upstream)
    git("tag", "v1", "main", cwd=bench.upstream)
    git("update-ref", "refs/loom/bd-9/1", "main", cwd=bench.upstream)
    first = _check_out(bench)
    [generation] = _generations(bench)
    assert _refs(generation) == ["refs/heads/gone", "refs/heads/main", "refs/tags/v1"]
    git("branch", "-D", "gone", cwd=bench.upstream)
    second = bench.push(more="x")
    assert _check_out(bench) == second != first
    assert _generations(bench) == [generation]
    assert _refs(generation) == ["refs/heads/main", "refs/tags/v1"]


def test_a_branch_that_was_rewritten_is_followed(bench: Bench) -> None:
    _check_out(bench)
    seed = bench.upstream.parent / "seed"
    git("commit", "--quiet", "--amend", "--message=Again", cwd=seed)
    git("push", "--quiet", "--force", str(bench.upstream), "HEAD:refs/heads/main", cwd=seed)
    assert _check_out(bench) == git("rev-parse", "HEAD", cwd=seed)


def _lose_a_pack(repository: Path) -> None:
    for pack in (repository / "objects" / "pack").glob("*.pack"):
        pack.unlink()


def _garble_a_pack(repository: Path) -> None:
    for pack in (repository / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        data = bytearray(pack.read_bytes())
        data[20:-30] = b"\xff" * (len(data) - 50)
        pack.write_bytes(data)


def _lose_the_head(repository: Path) -> None:
    (repository / "HEAD").unlink()


def _garble_the_refs(repository: Path) -> None:
    (repository / "packed-refs").write_text("no refs\n")


@pytest.mark.parametrize(
    "spoil",
    [_garble_a_pack, _lose_the_head, _garble_the_refs],
    ids=lambda spoil: spoil.__name__.strip("_"),
)
def test_a_broken_mirror_is_fetched_anew(bench: Bench, spoil: Callable[[Path], None]) -> None:
    _check_out(bench)
    [generation] = _generations(bench)
    spoil(generation / "repository.git")
    _check_out(bench)
    [anew] = _generations(bench)
    assert anew != generation


def test_objects_that_are_missing_are_fetched_again(bench: Bench) -> None:
    _check_out(bench)
    [generation] = _generations(bench)
    _lose_a_pack(generation / "repository.git")
    _check_out(bench)


def test_what_a_killed_fetch_left_does_not_stop_the_next(bench: Bench) -> None:
    _check_out(bench)
    [generation] = _generations(bench)
    repository = generation / "repository.git"
    for name in ("packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_1"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    bench.push(more="x")
    _check_out(bench)
    assert _generations(bench) == [generation]
    assert not (repository / "objects/pack/tmp_pack_1").exists()


def test_many_attempts_at_once_make_one_mirror(bench: Bench) -> None:
    shas: list[str] = []

    def work(number: int) -> None:
        with bench.attempt(bead_id=f"bd-{number}") as at:
            shas.append(at.repository.check_out())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert shas == [bench.refs()["refs/heads/main"]] * 6
    assert len(_generations(bench)) == 1


def test_a_mirror_in_use_is_neither_replaced_nor_removed(bench: Bench) -> None:
    with bench.attempt() as at:
        at.repository.check_out()
        [generation] = _generations(bench)
        _lose_the_head(generation / "repository.git")
        with bench.attempt(bead_id="bd-2") as other:
            other.repository.check_out()
            assert len(_generations(bench)) == 2
            make_room(bench.mirrors, 1)
            assert len(_generations(bench)) == 2
    make_room(bench.mirrors, 1)
    assert not _generations(bench)
    _check_out(bench)


def test_room_is_made_by_what_was_used_longest_ago(bench: Bench) -> None:
    first, second = bench.upstream, bench.folder / "second.git"
    git("clone", "--quiet", "--bare", str(first), str(second), cwd=bench.folder)
    _check_out(bench)
    [older] = _generations(bench)
    os.utime(older / "used", (1, 1))
    bench.address = str(second)
    _check_out(bench)
    both = sum(file.stat().st_size for file in bench.mirrors.rglob("*") if file.is_file())
    make_room(bench.mirrors, both - 1)
    assert older not in _generations(bench)
    assert len(_generations(bench)) == 1


def test_a_repository_that_is_too_large_is_the_projects_fault_and_leaves_nothing(
    bench: Bench,
) -> None:
    (bench.upstream.parent / "seed" / "big").write_bytes(os.urandom(2 * 1024 * 1024))
    bench.push()
    with fails(WORK, "larger than 1 MB.*LOOM_AGENT_REPOSITORY_MB"):
        _check_out(bench, Quota(repository_mb=1))
    assert not _generations(bench)


def test_a_mirror_of_many_pieces_is_packed_once_nobody_uses_it(bench: Bench) -> None:
    _check_out(bench)
    [generation] = _generations(bench)
    packs = generation / "repository.git" / "objects" / "pack"
    for number in range(PACKS):
        data = f"blob {number}".encode()
        blob = subprocess.run(
            ["git", "hash-object", "-w", "--stdin"], cwd=generation / "repository.git",
            input=data, capture_output=True, check=True,
        ).stdout  # fmt: skip
        subprocess.run(
            ["git", "pack-objects", "--quiet", str(packs / "pack")],
            cwd=generation / "repository.git", input=blob, capture_output=True, check=True,
        )  # fmt: skip
    assert len(list(packs.glob("*.pack"))) > PACKS
    with bench.attempt() as at:
        at.repository.check_out()
        with bench.attempt(bead_id="bd-2") as other:
            other.repository.check_out()
        assert len(list(packs.glob("*.pack"))) > PACKS
    assert len(list(packs.glob("*.pack"))) == 1
    _check_out(bench)


def test_an_attempt_that_is_called_off_waits_for_no_mirror(bench: Bench) -> None:
    _check_out(bench)
    leash = Leash()
    leash.pull()
    [mirror] = bench.mirrors.iterdir()
    with Lock(mirror / "lock") as writing:
        assert writing.try_alone()
        with bench.attempt(leash=leash) as at, fails(INFRA, "being fetched by others"):
            at.repository.check_out()


def test_a_full_disk_is_the_surroundings_fault(bench: Bench) -> None:
    (bench.upstream.parent / "seed" / "big").write_bytes(os.urandom(3 * 1024 * 1024))
    bench.push()
    # In a mount namespace of its own, so that nothing is left mounted whatever happens.
    script = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    code = (
        "import sys; from pathlib import Path\n"
        "from workers.git import Git; from workers.command import Leash\n"
        "from workers.mirror import Mirror; from workers.ways.way import WorkFailed\n"
        "root = Path(sys.argv[1]); (root / 'tmp').mkdir()\n"
        f"git = Git(config=root / 'config', path={os.environ['PATH']!r}, home=root,\n"
        "          scratch=root / 'tmp', timeout_s=60, leash=Leash(), directory=root)\n"
        "git.configure()\n"
        "try:\n"
        "    with Mirror(root / 'm', 'demo', sys.argv[2], git).borrow(): print('no failure')\n"
        "except WorkFailed as failed: print(failed.failure_class, failed)\n"
    )
    full = bench.folder / "full"
    full.mkdir()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh",
         str(full), sys.executable, code, str(bench.upstream)],
        check=False, cwd=root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith("infra "), done
    assert "the agent's disk is full" in done.stdout
