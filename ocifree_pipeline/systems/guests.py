"""Has the guest itself answered? RUNNING at Oracle proves nothing: a machine without a boot loader is RUNNING too.

A Linux answers over SSH, a Talos at its API. Each says who it is, as far as it tells that to someone who only knocks.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, wait_for
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop, Stream

Kind = Literal["linux", "talos"]

TALOS_PORT = 50000
BOOT_SECONDS: Mapping[Kind, float] = MappingProxyType({"linux": 1200.0, "talos": 480.0})
"""A Micro has an eighth of a core, and its first boot updates its packages. A Talos installs none before it answers."""
HELLO_SECONDS = 20.0
_BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who answered. Talos tells none of the rest to a stranger."""

    kind: Kind
    architecture: str | None = None
    kernel: str | None = None
    machine_id: str | None = None
    has_kvm: bool | None = None


def kind_of(image: str) -> Kind:
    """By the name of the image in the declaration."""
    return "talos" if image.startswith("talos") else "linux"


def wait_until_it_answers(
    kind: Kind, dialer: Dialer, hop: Hop, *, trusted: frozenset[str] = frozenset(), clock: Clock = time
) -> Greeting:
    """The greeting of a guest that has finished its first boot."""
    return wait_for(
        lambda: greet(kind, dialer, hop, trusted=trusted),
        lambda greeting: True,
        what=f"{hop.machine} answers",
        timeout=BOOT_SECONDS[kind],
        pause=Pause(3, 20),
        clock=clock,
    )


def greet(kind: Kind, dialer: Dialer, hop: Hop, *, trusted: frozenset[str] = frozenset()) -> Greeting:
    """Knock once."""
    return _greet_linux(dialer, hop, trusted) if kind == "linux" else _greet_talos(dialer, hop)


def _greet_linux(dialer: Dialer, hop: Hop, trusted: frozenset[str]) -> Greeting:
    with dialer.shell(hop, trusted=trusted) as run:
        _first_boot_ended_well(hop.machine, run(["cloud-init", "status", "--format", "json"]).stdout)
        return Greeting(
            kind="linux",
            architecture=run(["uname", "-m"]).checked(f"ask {hop.machine} for its architecture").strip(),
            kernel=run(["uname", "-r"]).checked(f"ask {hop.machine} for its kernel").strip(),
            machine_id=run(["cat", "/etc/machine-id"]).checked(f"ask {hop.machine} who it is").strip(),
            has_kvm=run(["test", "-e", "/dev/kvm"]).exit == 0,
        )


def _first_boot_ended_well(machine: str, printed: str) -> None:
    # Asked again and again instead of with --wait: a first boot takes minutes, and connections break meanwhile.
    try:
        told = json.loads(printed)
    except ValueError:
        told = {}
    status = told.get("status", "unknown")
    if status in ("done", "disabled"):
        return
    if status in ("running", "not started", "not run"):
        raise Transient(f"{machine} is still in its first boot", why=f"cloud-init is {status}", fix="look again later")
    errors = told.get("errors") or [printed.strip()[:300] or "it says nothing"]
    raise NotVerified(
        f"the first boot of {machine} went wrong: cloud-init is {status}",
        why="; ".join(str(error) for error in errors)[:500],
        fix=f"log in and read /var/log/cloud-init-output.log on {machine}",
    )


def _greet_talos(dialer: Dialer, hop: Hop) -> Greeting:
    """A TLS hello is enough: whoever presents a certificate there has booted, and its API listens.

    Who it is, is proved later by the certificates of the cluster, which both sides then hold.
    """
    with dialer.stream(hop.host, TALOS_PORT) as stream:
        stream.settimeout(HELLO_SECONDS)
        try:
            presented = _hello(stream)
        except (ssl.SSLError, OSError, EOFError) as error:
            raise Transient(
                f"{hop.machine} does not speak TLS at port {TALOS_PORT}",
                why=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="it may still be booting; look again in a minute",
            ) from error
    if not presented:
        raise Transient(
            f"{hop.machine} presents no certificate", why="an empty TLS hello", fix="look again in a minute"
        )
    return Greeting(kind="talos")


def _hello(stream: Stream) -> bytes:
    """The certificate of the other side. Over any stream: a channel through the bastion is no real socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing)
    while True:
        try:
            session.do_handshake()
            return session.getpeercert(binary_form=True) or b""
        except ssl.SSLWantReadError:
            _send_all(stream, outgoing.read())
            data = stream.recv(_BLOCK)
            if not data:
                raise EOFError("the other side hung up") from None
            incoming.write(data)


def _send_all(stream: Stream, data: bytes) -> None:
    while data:
        data = data[stream.send(data) :]
