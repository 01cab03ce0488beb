"""Whether a cluster is whole: its nodes, its Ceph, and what runs on its guests. Nothing is restarted before it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.ceph.status import judge, read_status
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.membership import doubts, patient, view_of
from ocifree_pipeline.systems.proxmox.node import Node

BOOT_ID = "/proc/sys/kernel/random/boot_id"
BOOT_SECONDS = 1200.0
WELL_SECONDS = 1800.0
FLAG = "noout"
ONLY_FLAG = f"{FLAG} flag(s) set"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many monitors and OSDs Ceph has when it is whole."""

    monitors: int
    osds: int


@dataclass(frozen=True, slots=True)
class Gate:
    """Of all `nodes` of `cluster`. `upstairs` tells what is not well on the guests. Without `ceph` there is none."""

    cluster: str
    nodes: Sequence[Node]
    say: Callable[[str], None]
    ceph: Counts | None = None
    upstairs: Callable[[], list[str]] = list
    clock: Clock = time

    def all_doubts(self) -> list[str]:
        return [*self.doubts(), *self.upstairs()]

    def doubts(self, *, waiting: bool = False) -> list[str]:
        """What is not well with the nodes and with Ceph; while one is `waiting` for a node, its flag is no doubt."""
        views = [view_of(node) for node in self.nodes]
        found = list(doubts(views, self.cluster))
        found += [f"the clock of {view.node} is not synchronized" for view in views if not view.synchronized]
        if self.ceph is None or found:
            return found
        status = read_status(self.nodes[0])
        if waiting and status.checks.get("OSDMAP_FLAGS") == ONLY_FLAG:
            status = replace(
                status, checks={code: one for code, one in status.checks.items() if code != "OSDMAP_FLAGS"}
            )
        return [*judge(status, monitors=self.ceph.monitors, osds=self.ceph.osds).reasons]

    def require(self, found: list[str], node: Node) -> None:
        if found:
            raise NotVerified(
                f"{node.name} is not restarted now",
                why="; ".join(found)[:500],
                fix="mend that first (`ocifree verify` looks at everything)",
            )

    def until(self, read: Callable[[], list[str]], what: str) -> None:
        told = ""

        def reading() -> list[str]:
            nonlocal told
            found = read()
            if found and found[0] != told:
                told = found[0]
                self.say(f"not yet: {told}")
            return found

        try:
            wait_for(
                patient(reading),
                lambda found: not found,
                what=what,
                timeout=WELL_SECONDS,
                pause=Pause(2, 15),
                clock=self.clock,
            )
        except TimedOut as error:
            raise NotVerified(
                f"it is not so that {what}", why=error.why[:500], fix="look at it: pvecm status; ceph health detail"
            ) from error


def boot_id(node: Node) -> str:
    """Another one after each start."""
    return node.text(BOOT_ID).strip()


def wait_for_boot(node: Node, done: Callable[[str], bool], clock: Clock) -> None:
    try:
        wait_for(
            patient(lambda: boot_id(node)),
            done,
            what=f"{node.name} has started anew",
            timeout=BOOT_SECONDS,
            pause=Pause(2, 15),
            clock=clock,
        )
    except TimedOut as error:
        raise NotVerified(
            f"{node.name} has not come back",
            why=f"{error.why}; until it does, Ceph has fewer copies",
            fix=f"look at its console in Oracle's; if it stays away, `ceph osd unset {FLAG}` on another node lets Ceph "
            "make its copies elsewhere",
        ) from error
