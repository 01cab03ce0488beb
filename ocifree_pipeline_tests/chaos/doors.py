"""Every call that changes something, at whatever door it is made; and something that strikes at one of them.

with counted() as calls: ...                           # what was changed at Oracle
with counted(3, "after") as calls: ...                 # the process dies right after the third
with counted(3, "before", strike, doors=EVERY): ...    # `strike` is called before the third of all systems
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from unittest.mock import patch

import oci.base_client

from ocifree_pipeline.systems.grafana.http import Door as GrafanaDoor
from ocifree_pipeline.systems.kube.api import Api as KubeApi
from ocifree_pipeline.systems.proxmox.api import Api as ProxmoxApi
from ocifree_pipeline.systems.ssh import dialer
from ocifree_pipeline.systems.talos.channel import Conversation

Answer = TypeVar("Answer")
Moment = Literal["before", "after"]

_READING = frozenset({"GET", "HEAD", "get"})
_READING_COMMANDS = (
    ("cat",), ("test",), ("pvesh", "get"), ("getent",), ("ip",), ("sysctl", "-n"), ("ping",), ("passwd", "-S"),
    ("timedatectl",), ("sha256sum",), ("stat",), ("uname",), ("nft", "list"), ("pvesm", "status"),
    ("tailscale", "status"), ("tailscale", "ping"), ("tailscale", "version"), ("ceph",), ("true",), ("cloud-init",),
    ("dpkg-query",), ("timeout", "10", "bash"),
)  # fmt: skip
_TALOS_WRITES = (
    "ApplyConfiguration",
    "Bootstrap",
    "Upgrade",
    "Reset",
    "Reboot",
    "Shutdown",
    "EtcdRemoveMemberByID",
    "EtcdLeaveCluster",
)


class Killed(BaseException):
    """The process died here. No production code may catch it: nothing is tidied up."""


def die() -> None:
    raise Killed


@dataclass
class Calls:
    """What changed something, in the order in which it was called; the first is 1."""

    strike_at: int | None = None
    moment: Moment = "before"
    strike: Callable[[], object] = die
    operations: list[str] = field(default_factory=list)

    @property
    def number(self) -> int:
        return len(self.operations)

    def make(self, operation: str, work: Callable[[], Answer]) -> Answer:
        self.operations.append(operation)
        struck = self.number == self.strike_at
        if struck and self.moment == "before":
            self.strike()
        answer = work()
        if struck and self.moment == "after":
            self.strike()
        return answer


Door = Callable[[Calls], AbstractContextManager[object]]


def oracle(calls: Calls) -> AbstractContextManager[object]:
    really = oci.base_client.BaseClient.call_api

    def call(self: Any, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if method.upper() in _READING:
            return really(self, resource_path, method, *args, **kwargs)
        return calls.make(f"{method} {resource_path}", lambda: really(self, resource_path, method, *args, **kwargs))

    return patch.object(oci.base_client.BaseClient, "call_api", call)


def talos(calls: Calls) -> AbstractContextManager[object]:
    really = Conversation.call

    def call(self: Conversation, path: str, **fields: Any) -> Any:
        if not path.endswith(_TALOS_WRITES) or fields.get("dry_run"):
            return really(self, path, **fields)
        return calls.make(path.rpartition("/")[2], lambda: really(self, path, **fields))

    return patch.object(Conversation, "call", call)


def kubernetes(calls: Calls) -> AbstractContextManager[object]:
    return patch.object(KubeApi, "_call", _over_http(calls, KubeApi._call))


def grafana(calls: Calls) -> AbstractContextManager[object]:
    return patch.object(GrafanaDoor, "call", _over_http(calls, GrafanaDoor.call))


def _over_http(calls: Calls, really: Callable[..., Any]) -> Callable[..., Any]:
    """Rehearsals and telemetry change nothing."""

    def call(here: Any, method: str, path: str, *rest: Any, **more: Any) -> Any:
        is_telemetry = isinstance(here, GrafanaDoor) and here.kind != "grafana"
        if method in _READING or is_telemetry or "dryRun" in f"{more} {rest}":
            return really(here, method, path, *rest, **more)
        return calls.make(f"{method} {path}", lambda: really(here, method, path, *rest, **more))

    return call


@contextmanager
def nodes(calls: Calls) -> Iterator[None]:
    """Commands on machines, and the API of Proxmox."""
    really_run, really_call = dialer._run, ProxmoxApi._call

    def run(client: Any, hop: Any, command: str, *rest: Any) -> Any:
        words = shlex.split(command)
        while words[:1] == ["sudo"] or words[:1] == ["-n"] or words[:1] == ["--"]:
            words = words[1:]
        if words[:2] == ["pct", "exec"]:
            words = words[4:]
        if any(tuple(words[: len(one)]) == one for one in _READING_COMMANDS):
            return really_run(client, hop, command, *rest)
        return calls.make(f"{hop.machine}: {' '.join(words)}", lambda: really_run(client, hop, command, *rest))

    def call(self: ProxmoxApi, verb: str, path: str, *rest: Any) -> Any:
        if verb in _READING:
            return really_call(self, verb, path, *rest)
        return calls.make(f"{verb.upper()} {path}", lambda: really_call(self, verb, path, *rest))

    with patch.object(dialer, "_run", run), patch.object(ProxmoxApi, "_call", call):
        yield


EVERY: tuple[Door, ...] = (oracle, talos, kubernetes, grafana, nodes)


@contextmanager
def counted(
    strike_at: int | None = None,
    moment: Moment = "before",
    strike: Callable[[], object] = die,
    *,
    doors: tuple[Door, ...] = (oracle,),
) -> Iterator[Calls]:
    calls = Calls(strike_at, moment, strike)
    with ExitStack() as stack:
        for door in doors:
            stack.enter_context(door(calls))
        yield calls
