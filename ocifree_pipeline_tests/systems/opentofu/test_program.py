"""Finding the program, and running it so that nothing of it outlives us."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from ocifree_pipeline.deployment.errors import PreconditionMissing, Transient
from ocifree_pipeline.systems import child
from ocifree_pipeline.systems.opentofu.program import Program, find_program, run
from ocifree_pipeline_tests.systems.opentofu.conftest import Bench


class Interrupted(BaseException):
    """As the end of a run reaches the step."""


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("OpenTofu v1.8.0", (1, 8, 0)),
        ("OpenTofu v1.12.6", (1, 12, 6)),
        ("OpenTofu v1.13.0-dev", (1, 13, 0)),
        ("\nWarning: Unable to open CLI configuration file\n\nOpenTofu v1.12.6\non linux_amd64", (1, 12, 6)),
    ],
)
def test_a_program_that_is_new_enough_is_taken(bench: Bench, says: str, version: tuple[int, int, int]) -> None:
    bench.play(version=says)
    assert find_program(bench.environ) == Program(str(bench.program), version)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("OpenTofu v1.7.9", "needs 1.8 or newer"),
        ("Terraform v1.11.4", "calls itself Terraform v1.11.4"),
        ("", "calls itself nothing"),
    ],
)
def test_another_program_is_refused_with_the_way_out(bench: Bench, says: str, words: str) -> None:
    bench.play(version=says)
    with pytest.raises(PreconditionMissing) as caught:
        find_program(bench.environ)
    assert words in str(caught.value)
    assert "engine: native" in caught.value.fix


def test_a_program_that_is_not_there_is_said_by_its_name(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(PreconditionMissing, match="tofu is not installed"):
        find_program({"PATH": str(tmp_path)})
    with pytest.raises(PreconditionMissing, match="/nowhere/tofu is not a program"):
        find_program({**bench.environ, "TOFU": "/nowhere/tofu"})
    assert find_program({"PATH": os.defpath, "TOFU": str(bench.program)}).path == str(bench.program)


def test_a_file_that_cannot_be_run_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "tofu"
    broken.write_text("#!/nowhere/at-all\n", "utf-8")
    broken.chmod(0o755)
    with pytest.raises(PreconditionMissing, match="does not run"):
        find_program({"PATH": str(tmp_path)})


@pytest.mark.parametrize("stubborn", [False, True])
def test_whatever_ends_us_ends_the_program_and_its_children(bench: Bench, stubborn: bool) -> None:
    def interrupted(line: str) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        _hang(bench, interrupted, stubborn=stubborn)
    _assert_ended(bench)
    told = [note for note in bench.notes() if note.get("interrupted")]
    assert len(told) == (0 if stubborn else 1)


def test_silence_is_an_end(bench: Bench) -> None:
    heard: list[str] = []
    with pytest.raises(Transient, match="`tofu plan` said nothing for 1 s"):
        _hang(bench, heard.append, stubborn=False)
    assert heard == ["waiting"]
    _assert_ended(bench)


def _hang(bench: Bench, hear: Callable[[str], None], *, stubborn: bool) -> None:
    bench.play(fault={"at": "plan", "kind": "hang", "stubborn": stubborn})
    run(
        [str(bench.program), "plan"],
        folder=bench.folder,
        environ=bench.environ,
        hear=hear,
        quiet_seconds=1,
        grace_seconds=0.5 if stubborn else 10,
    )


def _assert_ended(bench: Bench) -> None:
    (hanging,) = (note for note in bench.notes() if "hanging" in note)
    # A signal that was sent still has to arrive, and who adopts the child may not notice its end at once.
    give_up = time.monotonic() + 30
    while running := [pid for pid in (hanging["hanging"], hanging["child"]) if _runs(pid)]:
        assert time.monotonic() < give_up, running
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_all_that_was_said_is_heard_however_busy_the_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program may end long before whoever listens is given a turn; its last words are its error."""
    monkeypatch.setattr(child, "_LOOK_AGAIN_SECONDS", 0.0)
    says = "import sys; print(*range(2000), sep='\\n'); print('why', file=sys.stderr)"
    for _ in range(3):
        heard: list[str] = []
        ended = run([sys.executable, "-S", "-c", says], folder=tmp_path, environ={}, hear=heard.append)
        assert heard == [str(number) for number in range(2000)]
        assert ended == child.Ended(0, ("why",))
