"""The lines of `packer -machine-readable`, read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.systems.packer.messages import Listener, parse, words_of_qemu


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\"), max_size=30), max_size=5))
def test_what_is_written_in_the_protocol_is_read_back(data: list[str]) -> None:
    escaped = [one.replace(",", "%!(PACKER_COMMA)").replace("\r", "\\r").replace("\n", "\\n") for one in data]
    message = parse(",".join(["1700000000", "base-hardened.qemu.guest", "ui", *escaped]))
    assert message is not None
    assert (message.target, message.kind, list(message.data)) == ("base-hardened.qemu.guest", "ui", data)


@given(st.text(max_size=80))
def test_no_line_breaks_the_listener(line: str) -> None:
    Listener(lambda said: None).hear(line)


def test_phases_take_from_their_beginning_to_the_next() -> None:
    now = [0.0]
    listener = Listener(lambda said: None, monotonic=lambda: now[0])
    for at, line in [
        (10.0, "1,,ui,say,==> base-hardened.qemu.guest: Starting VM"),
        (25.0, "1,,ui,message,    base-hardened.qemu.guest: step ssh"),
        (26.0, "1,,ui,message,    base-hardened.qemu.guest: some words"),
        (27.0, "1,,ui,say,==> base-hardened.qemu.guest: Unpacking openssh-server"),
        (30.0, "1,,ui,say,==> base-hardened.qemu.guest: step time"),
        (35.0, "1,,ui,say,==> base-hardened.qemu.guest: Provisioning with shell script: /a/b"),
        (40.0, "1,,ui,say,==> base-hardened.qemu.guest: Gracefully halting"),
        (41.0, "1,,ui,say,==> base-hardened.qemu.guest: Deleting output directory..."),
    ]:
        now[0] = at
        listener.hear(line)
    now[0] = 41.5
    told = [(phase.name, phase.seconds) for phase in listener.phases()]
    assert told == [
        ("Starting VM", 15.0),
        ("ssh", 5.0),
        ("time", 5.0),
        ("Provisioning with shell script", 5.0),
        ("Gracefully halting", 1.5),
    ]


def test_words_of_qemu_are_found_in_the_log_of_packer() -> None:
    log = "2026/11/20 plugin: Started Qemu. Pid: 1\n2026/11/20 plugin: Qemu stderr: qemu: no such machine\n"
    assert words_of_qemu(log) == ("qemu: no such machine",)
