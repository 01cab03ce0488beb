"""An intent is on disk before the call, survives a kill, and comes back with the same token."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.journal import Journal, journal_of

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal" / "lab.jsonl")


def again(journal: Journal) -> Journal:
    """As another process sees it."""
    return Journal(journal.file)


def test_it_stands_beside_the_history_of_the_deployment(tmp_path: Path) -> None:
    assert journal_of("lab", {"DAGSTER_HOME": str(tmp_path)}).file == tmp_path / "journal" / "lab.jsonl"


def test_an_open_intent_comes_back_with_its_token_and_details(journal: Journal) -> None:
    first = journal.intend("CreateVcn", "oci/network/vcn", {"cidr": "10.0.0.0/16"}, now=NOW)
    later = again(journal).intend("CreateVcn", "oci/network/vcn", {"cidr": "other"}, now=NOW + timedelta(hours=22))
    assert later == first
    assert later.details == {"cidr": "10.0.0.0/16"}
    assert again(journal).open_intents("CreateVcn") == [first]
    assert again(journal).open_intents("CreateSubnet") == []


@pytest.mark.parametrize(("operation", "subject"), [("CreateSubnet", "a"), ("CreateVcn", "b")])
def test_another_call_has_another_token(journal: Journal, operation: str, subject: str) -> None:
    first = journal.intend("CreateVcn", "a", now=NOW)
    other = journal.intend(operation, subject, now=NOW)
    assert other.token != first.token
    assert again(journal).open_intents() == [first, other]


def test_after_its_deadline_the_token_is_another(journal: Journal) -> None:
    first = journal.intend("CreateVcn", "a", now=NOW)
    second = journal.intend("CreateVcn", "a", now=first.deadline)
    assert second.token != first.token
    assert again(journal).open_intents() == [second]


def test_a_closed_intent_is_over(journal: Journal) -> None:
    first = journal.intend("CreateVcn", "a", now=NOW)
    again(journal).close(first, "ocid1.vcn.oc1..x")
    assert journal.open_intents() == []
    size = journal.file.stat().st_size
    journal.close(first, "once more")
    assert journal.file.stat().st_size == size
    assert journal.intend("CreateVcn", "a", now=NOW).token != first.token


def test_only_the_owner_may_read_it(journal: Journal) -> None:
    journal.intend("CreateVcn", "a", now=NOW)
    assert stat.S_IMODE(journal.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.file.parent.stat().st_mode) == 0o700


def test_it_is_only_appended_to(journal: Journal) -> None:
    seen = b""
    for subject in "abc":
        intent = journal.intend("CreateVcn", subject, now=NOW)
        journal.close(intent, "done")
        assert journal.file.read_bytes().startswith(seen)
        seen = journal.file.read_bytes()


def test_a_moment_without_a_time_zone_is_refused(journal: Journal) -> None:
    with pytest.raises(ValueError, match="time zone"):
        journal.intend("CreateVcn", "a", now=NOW.replace(tzinfo=None))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 400))
def test_a_write_that_broke_off_is_forgotten_and_what_stood_before_is_kept(journal: Journal, cut: int) -> None:
    journal.file.unlink(missing_ok=True)
    kept = again(journal).intend("CreateVcn", "kept", now=NOW)
    whole = journal.file.stat().st_size
    again(journal).intend("CreateVcn", "torn", now=NOW)
    size = journal.file.stat().st_size
    os.truncate(journal.file, max(whole, size - cut))
    assert again(journal).open_intents() == [kept]
    after = again(journal).intend("CreateVcn", "after", now=NOW)
    assert again(journal).open_intents() == [kept, after]
    assert all(json.loads(line) for line in journal.file.read_text().splitlines())


def test_a_damaged_line_is_an_error_that_names_the_file(journal: Journal) -> None:
    journal.intend("CreateVcn", "a", now=NOW)
    with journal.file.open("a") as file:
        file.write("{not json}\n")
    with pytest.raises(Refused, match="is damaged") as caught:
        again(journal).open_intents()
    assert str(journal.file) in caught.value.what


def test_a_removed_file_is_an_empty_one(journal: Journal) -> None:
    journal.intend("CreateVcn", "a", now=NOW)
    journal.file.unlink()
    assert journal.open_intents() == []
    assert len(journal.open_intents()) == 0
    fresh = journal.intend("CreateVcn", "b", now=NOW)
    assert journal.open_intents() == [fresh]


def test_threads_at_once_agree_on_one_intent(journal: Journal) -> None:
    tokens: list[str] = []

    def one(own: Journal) -> None:
        tokens.append(own.intend("CreateVcn", "a", now=NOW).token)

    threads = [threading.Thread(target=one, args=(own,)) for own in [journal, journal, *map(again, [journal] * 6)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1


def test_what_was_returned_survives_a_kill(journal: Journal) -> None:
    code = (
        "import os, signal, sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from ocifree_pipeline.systems.journal import Journal\n"
        "intent = Journal(Path(sys.argv[1])).intend('CreateVcn', 'a', now=datetime(2026, 11, 20, 6, tzinfo=UTC))\n"
        "print(intent.token, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(journal.file)], capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert [intent.token for intent in journal.open_intents()] == [died.stdout.strip()]
