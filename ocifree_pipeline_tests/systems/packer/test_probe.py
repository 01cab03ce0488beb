"""What a machine from an image is asked, how its answers are read, and that it ends with the question."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.packer.booting import command_of, logged_in, started
from ocifree_pipeline.systems.packer.host import Architecture, Host
from ocifree_pipeline.systems.packer.probe import Answer, Question, judged, probe, questions, require_hardened, script

BAD = {
    "cloud-init is done": ['{"errors": ["x"], "status": "done"}', '{"errors": [], "status": "error"}', ""],
    "logins": ["kbdinteractiveauthentication no\npasswordauthentication yes\npermitrootlogin no", "permitrootlogin no"],
    "root's password": ["P", "NP"],
    "packets by default": ["policy accept", ""],
    "ports that are listened on": ["22\n5355", ""],
    "unattended upgrades": ['APT::Periodic::Unattended-Upgrade "0";\nenabled', "disabled"],
    "time": ["inactive\n169.254.169.254", "active"],
    "last console of the kernel": ["console=tty0"],
    "drivers before the root": ["virtio_blk.ko virtio_net.ko virtio_pci.ko"],
    "machine id": ["", "uninitialized"],
    "units that failed": ["nftables.service"],
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_what_is_not_hardened_is_seen(what: str) -> None:
    asked = questions("amd64", is_base=True)
    number = next(number for number, one in enumerate(asked) if one.what == what)
    for found in BAD[what]:
        (answer,) = (one for one in judged(asked, f"\n@@ {number}\n{found}\n@@ end\n") if one.what == what)
        assert (answer.found, answer.good) == (found, False)


def test_a_node_of_proxmox_may_listen_on_more_ports() -> None:
    base, node = ({one.what for one in questions("arm64", is_base=is_base)} for is_base in (True, False))
    assert base - node == {"ports that are listened on"}


def test_all_that_is_not_as_it_must_be_is_told_at_once() -> None:
    answers = (Answer("time", "inactive", False), Answer("firmware", "UEFI", True), Answer("logins", "", False))
    with pytest.raises(NotVerified) as caught:
        require_hardened(answers, "base")
    assert caught.value.what == "base was started, and is not hardened: time, logins"
    assert caught.value.why == "time: inactive; logins: nothing"
    require_hardened(answers[1:2], "base")


_WORDS = st.text("abc01 .:", max_size=12)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.lists(_WORDS, max_size=3), st.booleans()), min_size=1, max_size=4))
def test_every_answer_stands_beside_its_question(tmp_path_factory: Any, said: list[tuple[list[str], bool]]) -> None:
    """Commands may end their last line or not, say nothing, or fail; the shell is a real one."""
    folder = tmp_path_factory.mktemp("bin")
    for name, body in {"bash": "exit 0", "cloud-init": "exit 0", "systemd-run": "exit 0", "sleep": "exit 0"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    texts = ["\n".join(lines) + ("\n" if ended else "") for lines, ended in said]
    asked = tuple(
        Question(str(number), f"printf '%s' '{text}'; exit {number}", ".*") for number, text in enumerate(texts)
    )
    done = subprocess.run(
        ["sh", "-s"], input=script(asked), env={"PATH": f"{folder}:{os.defpath}"}, capture_output=True, text=True,
        timeout=30, check=True,
    )  # fmt: skip
    answers = judged(asked, done.stdout)
    assert [one.found for one in answers[:-1]] == [text.strip() for text in texts]
    assert answers[-1] == Answer("an unlisted port, from inside", "open", True)


def test_what_is_not_answered_is_not_good() -> None:
    asked = questions("amd64", is_base=True)
    assert not [one for one in judged(asked, "\n@@ end\n") if one.good]


def test_a_machine_that_falls_silent_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def get_transport(self) -> Any:
            raise TimeoutError("timed out")

    place = "ocifree_pipeline.systems.packer.probe"
    monkeypatch.setattr(f"{place}.started", lambda *given: nullcontext())
    monkeypatch.setattr(f"{place}.logged_in", lambda *given: nullcontext(Client()))
    with pytest.raises(NotVerified, match="stopped answering") as caught:
        probe(tmp_path / "image.qcow2", "amd64", _host(tmp_path), tmp_path)
    assert caught.value.why == "timed out"


# the machine ----------------------------------------------------------------------------------------------------------


def _host(folder: Path, **changes: Any) -> Host:
    (folder / "vars.fd").write_bytes(b"vars")
    given: dict[str, Any] = {
        "packer": "packer", "version": "1.16.0", "qemu": "/usr/bin/qemu-system-x86_64", "qemu_img": "true",
        "firmware_code": str(folder / "code.fd"),
        "firmware_vars": str(folder / "vars.fd"),
        "accelerator": "tcg",
        "cpus": 4,
    }  # fmt: skip
    return Host(**(given | changes))


@pytest.mark.parametrize(
    ("architecture", "accelerator", "machine", "processor"),
    [
        ("amd64", "tcg", "q35", "max"),
        ("amd64", "kvm", "q35", "host"),
        ("arm64", "tcg", "virt", "max,pauth-impdef=on"),
        ("arm64", "kvm", "virt", "host"),
    ],
)
def test_the_machine_is_like_one_at_oracle_and_reaches_nobody(
    tmp_path: Path, architecture: Architecture, accelerator: str, machine: str, processor: str
) -> None:
    program = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[architecture]
    host = _host(tmp_path, qemu=program, accelerator=accelerator)
    command = command_of(host, tmp_path, tmp_path / "disk.qcow2", tmp_path / "console.log", {2022: 22, 2023: 8099})
    given = {word: command[at + 1] for at, word in enumerate(command) if word in ("-machine", "-cpu", "-netdev")}
    assert given["-machine"].startswith(f"{machine},accel={accelerator},pflash0=code")
    assert given["-cpu"] == processor
    assert "restrict=on" in given["-netdev"]
    assert given["-netdev"].count("hostfwd=tcp:127.0.0.1:") == 2
    drives = {one["node-name"]: one for one in map(json.loads, (w for w in command if w.startswith("{")))}
    assert set(drives) == {"code", "vars", "disk", "seed"}
    assert drives["code"]["read-only"]
    assert drives["seed"]["label"] == "cidata"


def test_a_machine_ends_with_its_block_and_keeps_its_key_to_itself(tmp_path: Path) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\nexec sleep 600\n")
    qemu.chmod(0o755)
    with started(tmp_path / "image.qcow2", _host(tmp_path, qemu=str(qemu)), tmp_path) as machine:
        assert machine.process.poll() is None
        assert machine.key_file.stat().st_mode & 0o777 == 0o600
        seed = (tmp_path / "probe" / "seed" / "user-data").read_text()
        assert seed.startswith("#cloud-config\n")
        told = json.loads(seed.partition("\n")[2])
        assert (told["users"][0]["lock_passwd"], told["write_files"][0]["path"]) == (
            True,
            str(Path("/root", ".ssh", "authorized_keys")),
        )
    assert machine.process.poll() is not None


def test_a_machine_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\necho no such machine >&2\nexit 3\n")
    qemu.chmod(0o755)
    host = _host(tmp_path, qemu=str(qemu))
    with started(tmp_path / "image.qcow2", host, tmp_path) as machine:
        machine.process.wait(10)
        with pytest.raises(NotVerified, match="ended with code 3") as caught, logged_in(machine, host):
            pass
    assert "no such machine" in caught.value.why


def test_an_image_that_no_copy_can_be_made_of_is_not_started(tmp_path: Path) -> None:
    with (
        pytest.raises(NotVerified, match="cannot be started from"),
        started(tmp_path / "image.qcow2", _host(tmp_path, qemu_img="false"), tmp_path),
    ):
        pass
