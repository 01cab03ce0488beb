"""ocifree ssh, ocifree console: look into a machine, over the way and with the host key that the deployment knows."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, refuse, say, say_json
from ocifree_pipeline.deployment.errors import OcifreeError, PreconditionMissing, Refused

if TYPE_CHECKING:
    from ocifree_pipeline.record.definition import Step
    from ocifree_pipeline.record.machines import InstanceFacts

BLOCK = 32_768


def open_shell(path: Path | None, machine: str, command: Sequence[str]) -> None:
    """Becomes OpenSSH. The way is ours: OpenSSH knows neither the bastion's pinned key nor the proxy."""
    try:
        argv = _openssh(path, machine, command)
    except OcifreeError as error:
        raise fail(error) from error
    os.execv(argv[0], argv)  # noqa: S606


def _openssh(path: Path | None, machine: str, command: Sequence[str]) -> list[str]:
    from ocifree_pipeline.record.machines import dialer_for, hop_to

    program = shutil.which("ssh")
    if program is None:
        raise PreconditionMissing("there is no ssh here", why="OpenSSH is not installed", fix="install openssh-client")
    with _looking_at(path, machine) as (step, facts):
        if facts.answers == "talos":
            raise Refused(
                f"{machine} runs Talos, which has no shell",
                why="its only door is the Talos API",
                fix=f"ocifree talosconfig, then: talosctl --nodes {facts.private_ip} dashboard",
            )
        hop, keys = hop_to(step.blueprint, facts), dialer_for(step, machine).keys
    declaration = ["--deployment", str(path.resolve())] if path else []
    way = [sys.executable, "-m", "ocifree_pipeline.cli.app", "way", *declaration, machine]
    identity = os.environ.get("OCIFREE_SSH_IDENTITY")
    options = {
        "ProxyCommand": shlex.join(way),
        "UserKnownHostsFile": str(keys.file),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": machine,
        "StrictHostKeyChecking": "yes",
    }
    return [
        program,
        *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
        *(("-i", identity) if identity else ()),
        f"{hop.user}@{hop.host}",
        *command,
    ]


def join_way(path: Path | None, machine: str) -> None:
    """Standard input and output become a connection to the SSH port of the machine. For OpenSSH, not for people."""
    from ocifree_pipeline.record.machines import dialer_for, hop_to

    try:
        with _looking_at(path, machine) as (step, facts):
            hop = hop_to(step.blueprint, facts)
            with dialer_for(step, machine).stream(hop.host, hop.port) as stream:
                stream.settimeout(None)

                def forth() -> None:
                    while data := os.read(0, BLOCK):
                        while data:
                            data = data[stream.send(data) :]

                threading.Thread(target=forth, daemon=True).start()
                while data := stream.recv(BLOCK):
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
    except OcifreeError as error:
        raise fail(error) from error


def show_console(path: Path | None, machine: str, as_json: bool) -> None:
    """What the machine printed on its serial console, as Oracle kept it."""
    from ocifree_pipeline.record.foundation import scope_of
    from ocifree_pipeline.systems.oci.console_history import console_text

    try:
        with _looking_at(path, machine, as_json) as (step, facts):
            text = console_text(scope_of(step), facts.ocid, machine)
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json({"machine": machine, "console": text})
    else:
        say(text or f"{machine} has printed nothing: its image does not boot, or it was started this minute")


@contextmanager
def _looking_at(path: Path | None, machine: str, as_json: bool = False) -> Iterator[tuple[Step, InstanceFacts]]:
    import dagster as dg

    from ocifree_pipeline.record.definition import Step
    from ocifree_pipeline.record.facts import read_facts
    from ocifree_pipeline.record.machines import InstanceFacts

    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    names = [one.name for one in blueprint.plan.machines]
    if machine not in names:
        fix = f"choose one of {', '.join(names)}"
        raise refuse(f"there is no machine {machine}", fix, Exit.USAGE, as_json=as_json)
    ensure_home()
    key = f"machines/{machine}"
    with dg.DagsterInstance.get() as instance:
        yield Step(blueprint, key, instance, lambda _: None), read_facts(instance, key, InstanceFacts)
