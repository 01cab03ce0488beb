"""Host keys from the console: the trusted path before the first connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.systems.oci import console_history
from ocifree_pipeline_tests.systems.oci.machines import World, world

ONE = "SHA256:" + "a" * 43
TWO = "SHA256:" + "B/" * 21 + "c"
PLAIN = f"""
-----BEGIN SSH HOST KEY FINGERPRINTS-----
256 {ONE} root@lab (ECDSA)
256 {TWO} root@lab (ED25519)
-----END SSH HOST KEY FINGERPRINTS-----
"""
PREFIXED = "\n".join(f"<14>Nov 20 06:20:07 cloud-init: {line}" for line in PLAIN.splitlines())


@pytest.mark.parametrize("console", [PLAIN, PREFIXED, "boot\r\n" + PREFIXED.replace("\n", "\r\n")])
def test_as_cloud_init_prints_them(console: str) -> None:
    assert console_history.fingerprints_in(console) == {ONE, TWO}


def test_only_the_last_whole_block_counts() -> None:
    younger = PLAIN.replace(ONE, TWO)
    assert console_history.fingerprints_in(PLAIN + younger) == {TWO}
    assert console_history.fingerprints_in(f"{ONE} outside of a block") == frozenset()
    assert console_history.fingerprints_in(PLAIN[: PLAIN.index("-----END")]) == frozenset()
    assert console_history.fingerprints_in(PLAIN.replace(ONE, ONE + "x").replace(TWO, "SHA256:short")) == frozenset()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


def test_waited_for_and_nothing_left_behind(here: World) -> None:
    running = here.claim()
    found = console_history.host_keys(here.scope, running.id, "ampere_1", clock=here)
    assert len(found) == 1
    compute = here.session.client("core.ComputeClient")
    assert compute.list_console_histories(here.sandbox.tenancy).data == []


def test_a_guest_that_never_boots_is_told_after_a_while(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    running = here.claim()
    monkeypatch.setattr(console_history, "console_text", lambda *_, **__: "UEFI Interactive Shell")
    with pytest.raises(Transient, match="published its host keys"):
        console_history.host_keys(here.scope, running.id, "ampere_1", clock=here)


def test_a_capture_that_fails_is_removed_as_well(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    running = here.claim()
    compute = here.session.client("core.ComputeClient")
    capture = compute.capture_console_history

    def capture_and_end(*args: object, **more: object) -> object:
        captured = capture(*args, **more)
        compute.terminate_instance(running.id)
        here.sandbox.advance(120)
        return captured

    monkeypatch.setattr(compute, "capture_console_history", capture_and_end)
    monkeypatch.setattr("ocifree_pipeline.sandbox.oracle.console_histories.CAPTURE_SECONDS", 60)
    with pytest.raises(NotVerified, match="it failed"):
        console_history.console_text(here.scope, running.id, "ampere_1", clock=here)
    assert compute.list_console_histories(here.sandbox.tenancy).data == []
