"""Take out of Ceph what went with a machine that is gone for good: its OSDs and its monitor.

Whoever calls has proof that the machine does not come back. Here it is proved that nobody needs what went with it:
every placement group has a copy elsewhere, and the monitors that are left are a majority without the lost one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Conflict, NotVerified
from ocifree_pipeline.systems.ceph import observing
from ocifree_pipeline.systems.ceph.status import Status, is_served, read_status
from ocifree_pipeline.systems.ceph.words import ask_ceph, change
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import Node

ACTIVE_SECONDS = 3600.0
"""With `min_size` 2, groups stand still until they have a second copy elsewhere; a small disk writes 24 MB/s."""


@dataclass(frozen=True, slots=True)
class Burial:
    """Of the machine `name`, asked of `witness`, which lives."""

    name: str
    witness: Node
    say: Callable[[str], None]
    clock: Clock = time

    def bury(self) -> list[str]:
        """What was done. Nothing when nothing of it is left, or when there is no Ceph."""
        conf = observing.read_conf(self.witness) if observing.has_packages(self.witness) else None
        if conf is None or not conf["monitors"]:
            return []
        return [*self._osds(), *self._monitor()]

    def _osds(self) -> list[str]:
        mine = [osd for osd in observing.osds(self.witness).values() if osd.host == self.name]
        alive = [osd.number for osd in mine if osd.up]
        if alive:
            raise Conflict(
                f"osd.{alive[0]} of {self.name} is up",
                why="its machine is said to be gone for good, so something else answers in its name",
                fix=f"look who it is: ceph osd metadata {alive[0]}",
            )
        for osd in mine:
            self._change(["ceph", "osd", "out", osd.number], f"give up osd.{osd.number} of {self.name}")
        if mine:
            self._nobody_needs_it()
        for osd in mine:
            doing = f"take osd.{osd.number} of {self.name} out of Ceph"
            self._change(["ceph", "osd", "purge", osd.number, "--yes-i-really-mean-it"], doing)
        left = [osd.number for osd in observing.osds(self.witness).values() if osd.host == self.name]
        if left:
            raise NotVerified(
                f"osd.{left[0]} of {self.name} is still there",
                why="`ceph osd purge` ended well",
                fix=f"on {self.witness.name}: ceph osd tree",
            )
        return [f"take osd.{osd.number} of {self.name} out of Ceph: its machine is gone" for osd in mine]

    def _nobody_needs_it(self) -> None:
        try:
            wait_for(
                lambda: _in_doubt(read_status(self.witness)),
                lambda doubts: not doubts,
                what="every placement group has a copy that is used",
                timeout=ACTIVE_SECONDS,
                pause=Pause(2, 30),
                clock=self.clock,
            )
        except TimedOut as error:
            raise NotVerified(
                f"the OSDs of {self.name} are not forgotten: not every placement group has a copy elsewhere",
                why=error.why,
                fix="`ceph health detail` names them. If their last copy went with the machine, its boot volume may "
                "still hold it; what was in them is lost otherwise, and only you can give it up",
            ) from error

    def _monitor(self) -> list[str]:
        told = ask_ceph(self.witness, "mon", "dump")
        names = [str(one["name"]) for one in told["mons"]]
        answering = observing.in_quorum(self.witness)
        lines = []
        if self.name in names:
            left = len(names) - 1
            if self.name in answering:
                raise Conflict(
                    f"the monitor of {self.name} answers",
                    why="its machine is said to be gone for good",
                    fix="look where it is: ceph mon dump",
                )
            if 2 * len(answering) <= left:
                raise NotVerified(
                    f"the monitor of {self.name} is not taken out",
                    why=f"{len(answering)} of the {left} others answer, which is no majority",
                    fix="bring another monitor back first: ceph mon dump names them",
                )
            self._change(["ceph", "mon", "remove", self.name], f"take the monitor of {self.name} out of Ceph")
            lines.append(f"take the monitor of {self.name} out of Ceph: its machine is gone")
        if self.name in observing.in_quorum(self.witness) or self.name in observing.monitors(self.witness):
            raise NotVerified(
                f"the monitor of {self.name} is still in the map",
                why="`ceph mon remove` ended well",
                fix=f"on {self.witness.name}: ceph mon dump",
            )
        text = self.witness.text(observing.CONF)
        after = without_monitor(text, self.name)
        if after != text:
            # `install` sets permissions, which the file system of the cluster does not let it.
            self.witness.run(["tee", observing.CONF], given=SecretStr(after)).checked(f"write {observing.CONF}")
            lines.append(f"take the monitor of {self.name} out of {observing.CONF}")
        return lines

    def _change(self, argv: list[str], doing: str) -> None:
        self.say(doing)
        change(self.witness, argv, doing)


def _in_doubt(status: Status) -> dict[str, int]:
    """Groups by their state. What was active when it was last reported, and what lacks objects, proves nothing."""
    if not status.has_manager:
        return {"counted by nobody, as no manager is active": sum(status.groups.values())}
    return {state: count for state, count in status.groups.items() if not is_served(state)}


def without_monitor(text: str, name: str) -> str:
    """/etc/pve/ceph.conf without the section of a monitor, and without its address among those to ask."""
    kept: list[str] = []
    gone: list[str] = []
    is_mine = False
    for line in text.splitlines():
        if line.strip().startswith("["):
            is_mine = line.strip() == f"[mon.{name}]"
        if not is_mine:
            kept.append(line)
        elif line.partition("=")[0].strip().replace(" ", "_") == "public_addr":
            gone.append(line.partition("=")[2].strip())
    return "".join(f"{_without_host(line, gone)}\n" for line in kept) if len(kept) < len(text.splitlines()) else text


def _without_host(line: str, gone: list[str]) -> str:
    key, equals, value = line.partition("=")
    if key.strip().replace(" ", "_") != "mon_host" or not equals:
        return line
    left = [one for one in value.replace(",", " ").split() if one not in gone]
    return f"{key.rstrip()} = {' '.join(left)}"
