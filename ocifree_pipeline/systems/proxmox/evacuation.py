"""Guests off a node before it restarts, and back afterwards: moved where there is room, else shut down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.systems.ceph.words import change
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.membership import patient
from ocifree_pipeline.systems.proxmox.node import Node

Seen = TypeVar("Seen")

PROGRAMS: Mapping[str, str] = {"qemu": "qm", "lxc": "pct"}
RESERVE = 1024**3
"""Memory that stays free on a node that takes a guest in."""
MOVE_SECONDS = 1800.0
SHUTDOWN_SECONDS = 600
START_SECONDS = 600.0
AUTOSTART_SECONDS = 300.0
"""How long a node that is back is given to start its guests by itself."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest as the cluster tells of it."""

    kind: str
    vmid: int
    name: str
    node: str
    status: str
    memory: int
    cores: int
    lock: str = ""

    @property
    def sid(self) -> str:
        return f"{self.kind}/{self.vmid}"

    def __str__(self) -> str:
        return f"{self.name} ({self.vmid})"


@dataclass(frozen=True, slots=True)
class Room:
    """What a node could take in."""

    node: str
    memory: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """Where a guest goes; without a node it is shut down."""

    guest: Guest
    to: str | None

    def __str__(self) -> str:
        return f"{self.guest} moves to {self.to}" if self.to else f"{self.guest} is shut down until the node is back"


def guests_of(witness: Node) -> dict[str, Guest]:
    """All guests of the cluster, by kind and number."""
    found = {}
    for row in witness.ask("/cluster/resources", "--type", "vm"):
        if int(row.get("template", 0)):
            continue
        guest = Guest(
            kind=str(row["type"]),
            vmid=int(row["vmid"]),
            name=str(row.get("name", row["vmid"])),
            node=str(row["node"]),
            status=str(row["status"]),
            memory=int(row.get("maxmem", 0)),
            cores=int(row.get("maxcpu", 1)),
            lock=str(row.get("lock", "")),
        )
        found[guest.sid] = guest
    return found


def running_on(node: Node, witness: Node) -> list[Guest]:
    return [one for one in guests_of(witness).values() if one.node == node.name and one.status == "running"]


def plan_leaving(guests: Iterable[Guest], rooms: Sequence[Room], movable: Callable[[Guest], bool]) -> list[Leaving]:
    """The largest first, each to the node with the most room. Containers cannot move while they run."""
    left = {room.node: room.memory - RESERVE for room in rooms}
    cpus = {room.node: room.cpus for room in rooms}
    found = []
    for guest in sorted(guests, key=lambda one: (-one.memory, one.vmid)):
        fit = [name for name, memory in left.items() if memory >= guest.memory and cpus[name] >= guest.cores]
        to = max(fit, key=lambda name: (left[name], name)) if fit and guest.kind == "qemu" and movable(guest) else None
        if to is not None:
            left[to] -= guest.memory
        found.append(Leaving(guest, to))
    return found


def rooms_of(nodes: Iterable[Node]) -> list[Room]:
    found = []
    for node in nodes:
        told = node.ask(f"/nodes/{node.name}/status")
        memory = told["memory"]
        free = int(memory.get("available", int(memory["total"]) - int(memory["used"])))
        found.append(Room(node.name, free, int(told["cpuinfo"]["cpus"])))
    return found


def is_movable(node: Node, guest: Guest) -> bool:
    """Nothing of it lies on this node alone, as Proxmox itself sees it."""
    told = node.ask(f"/nodes/{node.name}/qemu/{guest.vmid}/migrate")
    return not (told.get("local_disks") or told.get("local_resources") or told.get("mapped-resources"))


@dataclass(frozen=True, slots=True)
class Evacuation:
    """Of `node`; the cluster is asked through `witness`, which stays up."""

    node: Node
    witness: Node
    say: Callable[[str], None]
    clock: Clock = time

    def plan(self, others: Iterable[Node]) -> list[Leaving]:
        running = running_on(self.node, self.witness)
        rooms = rooms_of(others) if running else []
        return plan_leaving(running, rooms, lambda guest: is_movable(self.node, guest))

    def settle(self) -> None:
        """What was under way with its guests when somebody died has come to its end."""
        self._until(
            lambda: [one for one in guests_of(self.witness).values() if one.node == self.node.name and one.lock],
            lambda locked: not locked,
            f"nothing is under way with the guests of {self.node.name}",
            MOVE_SECONDS,
        )

    def leave(self, leaving: Leaving) -> None:
        guest = leaving.guest
        self.say(f"{self.node.name}: {leaving}")
        if leaving.to is not None:
            self._move(guest, self.node, leaving.to)
            return
        argv = [PROGRAMS[guest.kind], "shutdown", str(guest.vmid), "--timeout", str(SHUTDOWN_SECONDS)]
        change(self.node, argv, f"shut down {guest}", timeout=SHUTDOWN_SECONDS + 60.0)
        self._see(guest, lambda seen: seen.status == "stopped", f"{guest} is off", SHUTDOWN_SECONDS)

    def back(self, sids: Iterable[str], nodes: Mapping[str, Node]) -> None:
        """Each is at home again, and runs."""
        for sid in sids:
            guest = guests_of(self.witness).get(sid)
            if guest is None:
                self.say(f"{sid} was removed meanwhile")
                continue
            if guest.node != self.node.name:
                if guest.node not in nodes:
                    raise NotVerified(
                        f"{guest} is on {guest.node}, which is none of ours",
                        why=f"it was on {self.node.name} before",
                        fix=f"qm migrate {guest.vmid} {self.node.name} --online 1 on {guest.node}",
                    )
                self.say(f"{guest} goes back to {self.node.name}")
                self._move(guest, nodes[guest.node], self.node.name)
            self._runs(guest)

    def _runs(self, guest: Guest) -> None:
        config = self.node.ask(f"/nodes/{self.node.name}/{guest.kind}/{guest.vmid}/config")
        if int(config.get("onboot", 0)):
            try:
                self._see(guest, _runs, f"{guest} runs by itself", AUTOSTART_SECONDS)
            except NotVerified:
                self.say(f"{guest} was not started with {self.node.name}")
            else:
                return
        if guests_of(self.witness)[guest.sid].status != "running":
            self.say(f"start {guest} on {self.node.name}")
            # The node may have begun to do so a moment before; what counts is that it runs.
            told = self.node.run([PROGRAMS[guest.kind], "start", str(guest.vmid)], START_SECONDS)
            self.say(told.stderr.strip() or f"{guest} is told to start")
        self._see(guest, _runs, f"{guest} runs", START_SECONDS)

    def _move(self, guest: Guest, source: Node, target: str) -> None:
        argv = ["qm", "migrate", str(guest.vmid), target, "--online", "1"]
        change(source, argv, f"move {guest} to {target}", timeout=MOVE_SECONDS)
        self._see(
            guest,
            lambda seen: seen.node == target and seen.status == guest.status and not seen.lock,
            f"{guest} is on {target}",
            MOVE_SECONDS,
        )

    def _see(self, guest: Guest, done: Callable[[Guest], bool], what: str, seconds: float) -> None:
        def read() -> Guest:
            found = guests_of(self.witness).get(guest.sid)
            if found is None:
                raise Transient(f"{guest} is not there", why="the cluster does not list it", fix="qm list on each node")
            return found

        self._until(read, done, what, seconds)

    def _until(self, read: Callable[[], Seen], done: Callable[[Seen], bool], what: str, seconds: float) -> None:
        try:
            wait_for(patient(read), done, what=what, timeout=seconds, pause=Pause(1, 10), clock=self.clock)
        except TimedOut as error:
            raise NotVerified(
                f"it is not so that {what}",
                why=error.why,
                fix=f"look at the tasks of {self.node.name}: pvenode task list",
            ) from error


def _runs(guest: Guest) -> bool:
    return guest.status == "running" and not guest.lock
