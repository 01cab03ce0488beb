"""Count what changes something on Proxmox nodes and at their API; die there, before it or after it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from ocifree_pipeline.systems.proxmox.api import Api
from ocifree_pipeline.systems.ssh import dialer
from ocifree_pipeline_tests.chaos.crash import Killed, Moment

READING = (
    ("cat",), ("test",), ("pvesh", "get"), ("getent",), ("ip",), ("sysctl", "-n"), ("ping",), ("passwd", "-S"),
    ("timedatectl",), ("sha256sum",), ("stat",), ("uname",), ("nft", "list"), ("pvesm", "status"),
    ("tailscale", "status"), ("tailscale", "ping"), ("tailscale", "version"), ("ceph",), ("true",), ("cloud-init",),
    ("dpkg-query",), ("timeout", "10", "bash"),
)  # fmt: skip


@dataclass
class Changes:
    """What was done, in words."""

    done: list[str] = field(default_factory=list)


@contextmanager
def changes(kill_at: int = 0, moment: Moment = "before") -> Iterator[Changes]:
    """Every command and call that changes something; the first is 1."""
    found = Changes()
    really_run, really_call = dialer._run, Api._call

    def struck(words: str) -> bool:
        found.done.append(words)
        return len(found.done) == kill_at

    def run(client: Any, hop: Any, command: str, *rest: Any) -> Any:
        words = shlex.split(command)
        while words[:1] == ["sudo"] or words[:1] == ["-n"] or words[:1] == ["--"]:
            words = words[1:]
        if words[:2] == ["pct", "exec"]:
            words = words[4:]
        if any(tuple(words[: len(one)]) == one for one in READING):
            return really_run(client, hop, command, *rest)
        dies = struck(f"{hop.machine}: {' '.join(words)}")
        if dies and moment == "before":
            raise Killed(words)
        answer = really_run(client, hop, command, *rest)
        if dies:
            raise Killed(words)
        return answer

    def call(self: Api, verb: str, path: str, parameters: Mapping[str, Any]) -> Any:
        if verb == "get":
            return really_call(self, verb, path, parameters)
        dies = struck(f"{verb.upper()} {path}")
        if dies and moment == "before":
            raise Killed(path)
        answer = really_call(self, verb, path, parameters)
        if dies:
            raise Killed(path)
        return answer

    with patch.object(dialer, "_run", run), patch.object(Api, "_call", call):
        yield found
