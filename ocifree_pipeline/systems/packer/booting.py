"""Start an image once on this computer, as a cloud would: from a copy, with a first boot that lets one key in.

The machine reaches nobody and only this computer reaches it. It ends with the block, and with it everything it wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.packer.host import Host

if TYPE_CHECKING:
    import paramiko

USER = "probe"
ROOT_HOME = "/root"
UNLISTED_PORT = 8099
BOOT_SECONDS, SLOW_BOOT_SECONDS = 300.0, 2700.0
MEMORY_MB = 1024
"""As much as Oracle's smallest machine has."""
_FIRST_BOOT_DISK = {"driver": "vvfat", "label": "cidata", "floppy": False, "fat-type": 16}
"""A folder as a disk of the label that NoCloud looks for."""
_PATIENCE = 120
PROBE = "probe"
_LAST_WORDS = 600


@dataclass(frozen=True, slots=True)
class Machine:
    """A running machine, by ports of this computer."""

    ssh_port: int
    unlisted_port: int
    console: Path
    key_file: Path
    process: subprocess.Popen[bytes]

    def require_answer(self) -> None:
        """OSError while nobody speaks SSH there. QEMU takes connections from the first second, for whoever comes."""
        with socket.create_connection(("127.0.0.1", self.ssh_port), timeout=_PATIENCE) as asking:
            if not asking.recv(4).startswith(b"SSH"):
                raise ConnectionResetError("nobody speaks SSH yet")

    def login(self, user: str = USER) -> paramiko.SSHClient:
        """By its key. Nobody stands between this computer and its own child, so any host key is taken."""
        import paramiko

        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # noqa: S507
        client.connect(
            "127.0.0.1",
            self.ssh_port,
            user,
            key_filename=str(self.key_file),
            allow_agent=False,
            look_for_keys=False,
            timeout=_PATIENCE,
            banner_timeout=_PATIENCE,
            auth_timeout=_PATIENCE,
        )
        return client

    def said(self) -> str:
        """Everything that came out of its serial port."""
        return self.console.read_text("utf-8", "replace") if self.console.exists() else ""


@contextmanager
def started(image: Path, host: Host, work: Path) -> Iterator[Machine]:
    """A machine from `image`, which is not written to. `work` is a folder of the caller's; its rest goes with it."""
    folder = work / PROBE
    folder.mkdir(mode=0o700)
    key_file, public_key = one_time_key(folder)
    ssh_port, unlisted_port = _free_ports(2)
    _first_boot(folder / "seed", PROBE, public_key)
    shutil.copyfile(host.firmware_vars, folder / "vars.fd")
    overlay = folder / "disk.qcow2"
    made = subprocess.run(  # noqa: S603
        [host.qemu_img, "create", "-q", "-f", "qcow2", "-b", str(image.resolve()), "-F", "qcow2", str(overlay)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if made.returncode != 0:
        raise NotVerified(
            f"{image.name} cannot be started from", why=made.stderr.strip()[:300], fix="look at it: qemu-img check"
        )
    console = folder / "console.log"
    command = command_of(host, folder, overlay, console, {ssh_port: 22, unlisted_port: UNLISTED_PORT})
    with (folder / "qemu.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Machine(ssh_port, unlisted_port, console, key_file, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def logged_in(
    machine: Machine, host: Host, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[paramiko.SSHClient]:
    """As soon as it lets the key in. NotVerified if it never does, with what it said last."""
    import paramiko

    until = time.monotonic() + (SLOW_BOOT_SECONDS if host.is_slow else BOOT_SECONDS)
    while True:
        try:
            machine.require_answer()
            client = machine.login()
            break
        except (paramiko.SSHException, OSError) as error:
            ended = machine.process.poll()
            if ended is not None or time.monotonic() > until:
                raise NotVerified(
                    "the image was started and nobody could log in"
                    if ended is None
                    else f"the machine from the image ended with code {ended}",
                    why=" ".join(_last_words(machine).split()) or str(error),
                    fix="the whole of what it said is in console.log and qemu.log of the build",
                ) from error
            sleep(2)
    with client:
        yield client


def command_of(host: Host, folder: Path, overlay: Path, console: Path, forwards: Mapping[int, int]) -> list[str]:
    """The machine: UEFI, and as on Oracle a paravirtualised SCSI disk and card."""
    arm = host.qemu.endswith("aarch64")
    emulated = "max,pauth-impdef=on" if arm else "max"
    forwarded = "".join(f",hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for ours, theirs in forwards.items())
    drives: list[dict[str, object]] = [
        {"node-name": "code", "driver": "raw", "read-only": True, "file": _file(host.firmware_code)},
        {"node-name": "vars", "driver": "raw", "file": _file(folder / "vars.fd")},
        {"node-name": "disk", "driver": "qcow2", "discard": "unmap", "file": _file(overlay)},
        {"node-name": "seed", "read-only": True, **_FIRST_BOOT_DISK, "dir": str(folder / "seed")},
    ]
    return [
        host.qemu,
        *("-machine", f"{'virt' if arm else 'q35'},accel={host.accelerator},pflash0=code,pflash1=vars"),
        *("-cpu", emulated if host.is_slow else "host"),
        *("-smp", str(min(2, host.cpus)), "-m", str(MEMORY_MB), "-nodefaults", "-display", "none"),
        *("-serial", f"file:{console}"),
        *(word for drive in drives for word in ("-blockdev", json.dumps(drive))),
        *("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk", "-device", "virtio-blk-pci,drive=seed"),
        *("-netdev", f"user,id=net,restrict=on{forwarded}", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
    ]


def one_time_key(folder: Path) -> tuple[Path, str]:
    """A key for one machine: it is reachable from this computer only, and its user goes with it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    path = folder / "key"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return path, public.decode()


def _first_boot(folder: Path, name: str, public_key: str) -> None:
    """What NoCloud reads. Root gets the key as well, so that a refusal is one of the image and not of a missing key."""
    user = {
        "name": USER,
        "lock_passwd": True,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [public_key],
    }
    root = {"path": f"{ROOT_HOME}/.ssh/authorized_keys", "permissions": "0600", "content": f"{public_key}\n"}
    folder.mkdir()
    (folder / "meta-data").write_text(json.dumps({"instance-id": name, "local-hostname": name}), "utf-8")
    (folder / "user-data").write_text(f"#cloud-config\n{json.dumps({'users': [user], 'write_files': [root]})}", "utf-8")


def _file(path: Path | str) -> dict[str, str]:
    return {"driver": "file", "filename": str(path)}


def _last_words(machine: Machine) -> str:
    qemu = machine.console.with_name("qemu.log").read_text("utf-8", "replace")
    return (qemu + machine.said())[-_LAST_WORDS:]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
