"""What is drawn while a run goes on: elapsed time, attempts, the last words; and that a terminal gets it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ocifree_pipeline.cli.progress import Progress
from ocifree_pipeline.deployment.examples import example_path
from ocifree_pipeline.record.happenings import Happening


def progress(*happenings: tuple[str, str, str, float]) -> Progress:
    found = Progress()
    for kind, subject, text, at in happenings:
        found.note(Happening(kind, subject, text, at))
    return found


def test_each_running_asset_shows_how_long_what_and_which_attempt() -> None:
    found = progress(
        ("started", "oci/network", "", 0.0),
        ("started", "talos/secrets", "", 5.0),
        ("said", "oci/network", "wait: gateway\nmore", 7.0),
        ("made", "talos/secrets", "made", 9.0),
        ("retry", "oci/network", "will be tried again", 10.0),
        ("started", "oci/network", "", 25.0),
    )
    assert list(found.rows(100.0)) == [("oci/network", "1:15", "attempt 2", "will be tried again")]
    assert found.done == 1


def test_what_ends_leaves_and_what_never_began_is_not_shown() -> None:
    found = progress(
        ("said", "nobody", "words", 0.0),
        ("started", "a/b", "", 0.0),
        ("failed", "a/b", "", 1.0),
        ("skipped", "c/d", "", 1.0),
    )
    assert list(found.rows(2.0)) == []
    assert found.done == 0


@pytest.mark.long
def test_a_terminal_gets_it_and_ends_with_the_same_words(dagster_home: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ocifree_pipeline.cli.app", "up", "--yes", "--select", "talos/secrets"],
        stdout=slave, stderr=slave, stdin=subprocess.DEVNULL, cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "OCIFREE_DEPLOYMENT": str(example_path("talos-native")),
             "HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    assert process.wait(timeout=60) == 0, shown.decode(errors="replace")[-2000:]
    text = shown.decode(errors="replace")
    assert "talos/secrets" in text
    assert "success, 1 made, 0 failed" in text
    assert "\x1b[?25h" in text, "the cursor is shown again"
