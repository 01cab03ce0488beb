"""What a machine from an image must be like: asked on the machine itself after its first boot, and from outside."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.images.inspection import LOADERS
from ocifree_pipeline.systems.packer.booting import UNLISTED_PORT, Machine, logged_in, started
from ocifree_pipeline.systems.packer.host import Architecture, Host
from ocifree_pipeline.systems.ssh.conversation import converse

SILENCE_SECONDS = 15
ASKING_SECONDS, SLOW_ASKING_SECONDS = 180.0, 1800.0
_MARK = "@@ "


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found where `what` was asked. `good` tells whether it is what a hardened image says."""

    what: str
    found: str
    good: bool


@dataclass(frozen=True, slots=True)
class Question:
    """`wanted` is a pattern for all of the answer."""

    what: str
    command: str
    wanted: str


PORTS = {"amd64": "ttyS0", "arm64": "ttyAMA0"}


def questions(architecture: Architecture, *, is_base: bool) -> tuple[Question, ...]:
    """A node of Proxmox listens on more ports than the base; the rest is asked of both."""
    loader, port = LOADERS[architecture], PORTS[architecture]
    listening = Question(
        "ports that are listened on",
        r"""ss -Hltn | awk '$4 !~ /^(127\.|\[::1\])/ { sub(/.*:/, "", $4); print $4 }' | sort -u""",
        "22",
    )
    return (
        Question(
            "cloud-init is done", "cloud-init status --format json", r'(?s)(?=.*"errors": \[\]).*"status": "done".*'
        ),
        Question("cloud-init's source", "cloud-id", "nocloud"),
        Question(
            "sources that are asked",
            "cat /etc/cloud/cloud.cfg.d/*.cfg | sed -n 's/^datasource_list: *//p' | tail -n 1",
            r"\[Oracle, NoCloud, None\]",
        ),
        Question(
            "logins",
            "sshd -T | grep -E '^(permitrootlogin|passwordauthentication|kbdinteractiveauthentication) ' | sort",
            "kbdinteractiveauthentication no\npasswordauthentication no\npermitrootlogin no",
        ),
        Question("root's password", "passwd -S root | cut -d ' ' -f 2", "L"),
        Question("packets by default", "nft list chain inet ocifree input | grep -o 'policy [a-z]*'", "policy drop"),
        *((listening,) if is_base else ()),
        Question(
            "unattended upgrades",
            "apt-config dump APT::Periodic::Unattended-Upgrade; systemctl is-enabled apt-daily-upgrade.timer",
            r'APT::Periodic::Unattended-Upgrade "1";\nenabled',
        ),
        Question(
            "time",
            "systemctl is-active chrony; chronyc -n sources | grep -o '169\\.254\\.169\\.254'",
            r"active\n169\.254\.169\.254",
        ),
        Question(
            "last console of the kernel", "tr ' ' '\\n' </proc/cmdline | grep '^console=' | tail -n 1",
            rf"console={port},115200",
        ),
        Question("firmware", "test -d /sys/firmware/efi && echo UEFI", "UEFI"),
        Question("fallback loader", f"test -s /boot/efi/EFI/BOOT/{loader} && echo there", "there"),
        Question(
            "drivers before the root",
            'k=$(uname -r); { lsinitramfs "/boot/initrd.img-$k"; cat "/lib/modules/$k/modules.builtin"; } | '
            "grep -oE 'virtio_(blk|net|pci|scsi)\\.ko' | sort -u | tr '\\n' ' '",
            r"virtio_blk\.ko virtio_net\.ko virtio_pci\.ko virtio_scsi\.ko",
        ),
        Question("addresses of the kernel", "sysctl -n kernel.kptr_restrict", "2"),
        Question("machine id", "cat /etc/machine-id", "[0-9a-f]{32}"),
        Question("host key", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 2", "SHA256:.+"),
        Question(
            "units that failed", "systemctl list-units --failed --plain --no-legend | cut -d ' ' -f 1", "",
        ),
    )  # fmt: skip


def probe(
    image: Path,
    architecture: Architecture,
    host: Host,
    work: Path,
    *,
    is_base: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Answer, ...]:
    """Start the image once and ask. A machine that never answers is NotVerified; what it answers is the caller's."""
    import paramiko

    say("start the image and ask it")
    begun = time.monotonic()
    asked = questions(architecture, is_base=is_base)
    with started(image, host, work) as machine, logged_in(machine, host) as client:
        say(f"it answers SSH after {time.monotonic() - begun:.0f} s")
        seconds = SLOW_ASKING_SECONDS if host.is_slow else ASKING_SECONDS
        try:
            _, said, _ = converse(client, "sudo -n sh -s", seconds, script(asked).encode())
            answers = judged(asked, said.decode("utf-8", "replace"))
            return (*answers, *_from_outside(machine), _console(machine))
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise NotVerified(
                f"the machine from {image.name} let somebody in and then stopped answering",
                why=str(error) or type(error).__name__,
                fix="read what it said last: probe-console.log of the build",
            ) from error


def require_hardened(answers: tuple[Answer, ...], name: str) -> None:
    """NotVerified that names everything that is not as it must be."""
    bad = [one for one in answers if not one.good]
    if bad:
        raise NotVerified(
            f"{name} was started, and is not hardened: {', '.join(one.what for one in bad)}",
            why="; ".join(f"{one.what}: {one.found or 'nothing'}" for one in bad)[:600],
            fix="mend the step that says how it shall be (packer/scripts), then materialize the asset again",
        )


def script(asked: tuple[Question, ...]) -> str:
    """One program for all of it: a login takes seconds where a machine is emulated."""
    lines = ["cloud-init status --wait >/dev/null 2>&1"]
    for number, one in enumerate(asked):
        lines += [f"printf '\\n{_MARK}{number}\\n'", f"( {one.command} ) 2>&1"]
    # Nothing is proved by a silence from outside if nobody would have answered.
    lines += [
        f"printf '\\n{_MARK}{len(asked)}\\n'",
        f"systemd-run --quiet python3 -m http.server {UNLISTED_PORT} >/dev/null 2>&1",
        f"for i in $(seq 60); do bash -c '</dev/tcp/127.0.0.1/{UNLISTED_PORT}' 2>/dev/null && break; sleep 1; done",
        f"bash -c '</dev/tcp/127.0.0.1/{UNLISTED_PORT}' 2>/dev/null && echo open",
    ]
    return "\n".join([*lines, f"printf '\\n{_MARK}end\\n'", "exit 0", ""])


def judged(asked: tuple[Question, ...], said: str) -> tuple[Answer, ...]:
    """Each answer beside its question; one that is missing is not good."""
    parts = re.split(rf"^{_MARK}(\w+)\n", said, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    answers = [
        Answer(one.what, text.strip(), re.fullmatch(one.wanted, text.strip()) is not None)
        for number, one in enumerate(asked)
        for text in [found.get(str(number), "not answered")]
    ]
    inside = found.get(str(len(asked)), "").strip()
    return (*answers, Answer("an unlisted port, from inside", inside, inside == "open"))


def _from_outside(machine: Machine) -> tuple[Answer, ...]:
    kinds = _kinds_of_login(machine)
    root = _may_log_in(machine, "root")
    heard = _heard(machine.unlisted_port)
    return (
        Answer("kinds of login that are offered", kinds, kinds == "publickey"),
        Answer("root with a key", root, root == "refused"),
        Answer("an unlisted port, from outside", heard or "silence", not heard),
    )


def _console(machine: Machine) -> Answer:
    last = machine.said().strip().splitlines()
    return Answer("the serial console ends with", last[-1][-80:] if last else "", "login:" in machine.said())


def _kinds_of_login(machine: Machine) -> str:
    import paramiko

    with contextlib.closing(paramiko.Transport(("127.0.0.1", machine.ssh_port))) as transport:
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = 120
        transport.start_client(timeout=120)
        try:
            transport.auth_password("probe", "probe")
        except paramiko.BadAuthenticationType as refused:
            return ", ".join(sorted(refused.allowed_types))
        except paramiko.AuthenticationException:
            return "password"
        return "any password"


def _may_log_in(machine: Machine, user: str) -> str:
    import paramiko

    try:
        machine.login(user).close()
    except paramiko.AuthenticationException:
        return "refused"
    return "let in"


def _heard(port: int) -> str:
    """What the guest answers to a request. The connection itself is accepted by QEMU, whatever the guest does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS) as asking:
            asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return asking.recv(80).decode("utf-8", "replace").strip()
    except OSError:
        return ""
