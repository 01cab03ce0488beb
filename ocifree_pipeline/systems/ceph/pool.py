"""The pool for the disks of guests, and the storage that Proxmox makes of it.

`pveceph pool create` ends with 0 whether it has worked or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ocifree_pipeline.deployment.errors import Conflict, NotVerified
from ocifree_pipeline.systems.ceph.building import LIFETIME, PREFIX
from ocifree_pipeline.systems.ceph.words import as_json, ask_ceph, change, refusal
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import Node

OPERATION = f"{PREFIX}pool"
GROUPS = 32
"""To begin with; the autoscaler makes more when the pool fills."""
STORAGE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Wanted:
    name: str
    size: int
    min_size: int


@dataclass(frozen=True, slots=True)
class Pool:
    """As `ceph osd pool ls detail` shows it."""

    number: int
    name: str
    size: int
    min_size: int
    groups: int
    autoscale: str
    applications: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    line: str
    argv: tuple[str, ...]


def find(node: Node, name: str) -> Pool | None:
    for one in ask_ceph(node, "osd", "pool", "ls", "detail"):
        if one["pool_name"] == name:
            return _pool(one)
    return None


def _pool(told: dict[str, Any]) -> Pool:
    return Pool(
        int(told["pool_id"]),
        str(told["pool_name"]),
        int(told["size"]),
        int(told["min_size"]),
        int(told["pg_num"]),
        str(told["pg_autoscale_mode"]),
        tuple(sorted(told["application_metadata"])),
    )


def is_active(node: Node, name: str) -> bool | None:
    """Whether Proxmox can use the storage on this node; None when it has no such storage."""
    path = f"/nodes/{node.name}/storage/{name}/status"
    result = node.run(["pvesh", "get", path, "--output-format", "json"])
    if result.exit == 0:
        return bool(int(as_json(node, result.stdout, path).get("active", 0)))
    if "does not exist" in result.stderr:
        return None
    raise NotVerified(
        f"{node.machine}: the storage {name} cannot be looked at",
        why=(result.stderr.strip() or "it said nothing").splitlines()[-1][:300],
        fix=f"on {node.machine}: sudo pvesm status",
    )


def plan(wanted: Wanted, pool: Pool | None, *, has_storage: bool) -> list[Change]:
    """What is missing. A storage without its pool is somebody else's."""
    create = (
        "pveceph", "pool", "create", wanted.name, "--size", str(wanted.size), "--min_size", str(wanted.min_size),
        "--pg_num", str(GROUPS if pool is None else pool.groups), "--pg_autoscale_mode", "on", "--application", "rbd",
        "--add_storages", "1",
    )  # fmt: skip
    if pool is None:
        if has_storage:
            raise Conflict(
                f"a storage {wanted.name} is there, and no pool of that name",
                why="it is of another kind, or its pool was removed",
                fix=f"choose another name under ceph.pool, or remove it: pvesm remove {wanted.name}",
            )
        line = f"create the pool {wanted.name}: {wanted.size} copies, writing goes on with {wanted.min_size}"
        return [Change(line, create)]
    if pool.applications not in ((), ("rbd",)):
        raise Conflict(
            f"the pool {wanted.name} is used for {', '.join(pool.applications)}",
            why="disks of guests would lie among somebody else's data",
            fix="choose another name under ceph.pool",
        )
    if not has_storage:
        # The same command: an existing pool takes these settings, and gets the storage that is missing.
        return [Change(f"make the storage {wanted.name} of the pool", create)]
    return [
        Change(
            f"set {name} of {wanted.name} to {value}, it is {now}",
            ("ceph", "osd", "pool", "set", wanted.name, name, str(value)),
        )
        for name, value, now in (
            ("size", wanted.size, pool.size),
            ("min_size", wanted.min_size, pool.min_size),
            ("pg_autoscale_mode", "on", pool.autoscale),
        )
        if value != now
    ]


@dataclass(frozen=True, slots=True)
class PoolBuilder:
    """Makes the pool that is `wanted` and proves it on every node."""

    wanted: Wanted
    nodes: Sequence[Node]
    journal: Journal
    say: Callable[[str], None]
    clock: Clock = time

    def plan(self) -> list[Change]:
        first = self.nodes[0]
        has_storage = is_active(first, self.wanted.name) is not None
        changes = plan(self.wanted, find(first, self.wanted.name), has_storage=has_storage)
        if not changes:
            for intent in self.journal.open_intents(OPERATION):
                self.journal.close(intent, "found made")
        return changes

    def apply(self, changes: Sequence[Change]) -> None:
        for one in changes:
            self.say(one.line)
            now = datetime.now(UTC)
            intent = self.journal.intend(OPERATION, self.wanted.name, {"line": one.line}, now=now, lifetime=LIFETIME)
            result = change(self.nodes[0], one.argv, one.line)
            if find(self.nodes[0], self.wanted.name) is None:
                raise refusal(self.nodes[0], one.line, result)
            self.journal.close(intent, "made")

    def proved(self) -> Pool:
        """The pool, when it is as declared and its storage is active on every node."""
        pool = find(self.nodes[0], self.wanted.name)
        if pool is None or (pool.size, pool.min_size) != (self.wanted.size, self.wanted.min_size):
            raise NotVerified(
                f"the pool {self.wanted.name} is not as declared",
                why=f"found: {pool}" if pool else "`pveceph pool create` ended well, and there is no such pool",
                fix=f"on {self.nodes[0].machine}: sudo pveceph pool ls; its task log says what went wrong",
            )
        try:
            wait_for(
                lambda: {node.machine: is_active(node, self.wanted.name) for node in self.nodes},
                lambda states: all(states.values()),
                what=f"the storage {self.wanted.name} is active on every node",
                timeout=STORAGE_SECONDS,
                pause=Pause(1, 10),
                clock=self.clock,
            )
        except TimedOut as error:
            raise NotVerified(
                f"the storage {self.wanted.name} is not active on every node",
                why=error.why,
                fix="on that node: sudo pvesm status; sudo ceph -s",
            ) from error
        return pool
