"""A disk that takes no more, or takes its time: an error of ours, nothing lost, no call before its intent."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline.systems.ssh.host_keys import HostKey, HostKeys
from ocifree_pipeline_tests.chaos.disk import followed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """What the kernel does to a write beyond it is what it does on a full disk: a part of it, then an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@settings(max_examples=15, deadline=None)
@given(room=st.integers(0, 700))
def test_the_journal_keeps_what_was_written_and_announces_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, room: int
) -> None:
    file = tmp_path_factory.mktemp("journal") / "lab.jsonl"
    journal = Journal(file)
    journal.intend("LaunchInstance", "node-0", now=NOW)
    line, announced = file.stat().st_size, ["node-0"]
    with no_file_beyond(line + room):
        while len(announced) <= room // line:
            announced.append(f"node-{len(announced)}")
            journal.intend("LaunchInstance", announced[-1], now=NOW)
        with pytest.raises(PreconditionMissing, match=r"lab\.jsonl") as caught:
            journal.intend("LaunchInstance", "node-9", now=NOW)
    assert "same command again" in caught.value.fix
    assert [one.subject for one in Journal(file).open_intents()] == announced
    later = NOW + timedelta(hours=1)
    again = journal.intend("LaunchInstance", "node-9", now=later)
    assert again.at == later
    assert Journal(file).intend("LaunchInstance", "node-9", now=later).token == again.token


def test_the_vault_keeps_its_secrets(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "lab.age", tmp_path / "identity.txt")
    vault.put({"kept": SecretStr("x" * 100)})
    with no_file_beyond(vault.file.stat().st_size + 10), pytest.raises(PreconditionMissing, match=r"lab\.age"):
        vault.put({"more": SecretStr("y" * 5000)})
    assert vault.names() == ("kept",)
    assert vault.get("kept").get_secret_value() == "x" * 100
    assert not list(tmp_path.glob("*.new"))
    vault.put({"more": SecretStr("y" * 5000)})
    assert vault.names() == ("kept", "more")


def test_no_call_is_made_before_a_slow_disk_has_taken_the_intent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, made = threading.Event(), threading.Event()
    asked = threading.Event()

    def slow(_handle: int) -> None:
        asked.set()
        assert taken.wait(30)

    monkeypatch.setattr("ocifree_pipeline.systems.journal.os.fsync", slow)

    def work() -> None:
        Journal(tmp_path / "lab.jsonl").intend("LaunchInstance", "one", now=NOW)
        made.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert asked.wait(30)
    assert not made.is_set()
    taken.set()
    worker.join(30)
    assert made.is_set()


def test_a_folder_that_cannot_be_synced_for_lack_of_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems find out only when they are asked to keep it."""

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PreconditionMissing, match="no room"):
        Journal(tmp_path / "new" / "lab.jsonl").intend("LaunchInstance", "one", now=NOW)


def test_a_power_cut_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    """Everything is in folders that did not exist before, and a name is safe once its folder was synced."""
    home = tmp_path / "home"
    journal, vault = Journal(home / "journal" / "lab.jsonl"), Vault(home / "vault" / "lab.age", home / "vault" / "id")
    keys = HostKeys(home / "ssh" / "lab.known_hosts")
    with followed(home) as disk:
        journal.intend("LaunchInstance", "one", now=NOW)
        vault.put({"kept": SecretStr("x")})
        keys.pin(HostKey("bastion", "ssh-ed25519", "AAAA"))
        (home / "never-synced").write_text("x")
        disk.lose_power()
    assert [one.subject for one in Journal(journal.file).open_intents()] == ["one"]
    assert vault.get("kept").get_secret_value() == "x"
    assert keys.of("bastion") == (HostKey("bastion", "ssh-ed25519", "AAAA"),)
    assert not (home / "never-synced").exists()


def test_two_that_write_to_a_slow_disk_lose_nothing_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault(tmp_path / "lab.age", tmp_path / "identity.txt")
    vault.put({"before": SecretStr("0")})
    slow, goes_on, done = threading.Event(), threading.Event(), []
    really = os.fsync

    def fsync(handle: int) -> None:
        slow.set()
        assert goes_on.wait(30)
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)

    def put(name: str) -> None:
        vault.put({name: SecretStr(name)})
        done.append(name)

    first, second = (threading.Thread(target=put, args=(name,)) for name in ("first", "second"))
    first.start()
    assert slow.wait(30)
    second.start()
    second.join(0.05)
    assert vault.names() == ("before",), "whoever reads meanwhile has what was there"
    assert done == []
    goes_on.set()
    first.join(30)
    second.join(30)
    assert vault.names() == ("before", "first", "second")
