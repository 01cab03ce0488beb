"""Make what is missing of Ceph, one change after the other, and believe each when it is read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.ceph import observing, planning
from ocifree_pipeline.systems.ceph.observing import Seen
from ocifree_pipeline.systems.ceph.places import Gap, Place, Unread, find_place
from ocifree_pipeline.systems.ceph.planning import Action, Wanted
from ocifree_pipeline.systems.ceph.status import Judgement, Status, judge, read_status
from ocifree_pipeline.systems.ceph.words import ask, change
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import Node

Found = TypeVar("Found")

INSTALL_SECONDS = 1800.0
DAEMON_SECONDS = 180.0
HEALTH_SECONDS = 900.0
LIFETIME = timedelta(days=7)
PREFIX = "ceph "
KEYRING = "/var/lib/ceph/bootstrap-osd/ceph.keyring"
YES = SecretStr("y\n")
"""Nothing secret: what apt is told, for `pveceph install` has no option that says it."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds the Ceph that is `wanted` on `nodes`."""

    wanted: Wanted
    nodes: Sequence[Node]
    journal: Journal
    say: Callable[[str], None]
    clock: Clock = time

    def plan(self) -> tuple[Seen, list[Action]]:
        """What there is and what is missing. What was under way and stands now has come to its end."""
        seen = observing.observe(self.nodes)
        half_made = frozenset(one.subject for one in self.journal.open_intents(f"{PREFIX}osd"))
        actions = planning.plan(self.wanted, self.nodes, seen, half_made)
        missing = {(f"{PREFIX}{action.kind}", _journal_subject(action)) for action in actions}
        for intent in self.journal.open_intents():
            if intent.operation.startswith(PREFIX) and (intent.operation, intent.subject) not in missing:
                self.journal.close(intent, "found made")
        return seen, actions

    def apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self.say(action.line)
            now = datetime.now(UTC)
            intent = self.journal.intend(
                f"{PREFIX}{action.kind}",
                _journal_subject(action),
                {"target": action.target},
                now=now,
                lifetime=LIFETIME,
            )
            self._make(action)
            self.journal.close(intent, "made")

    def healthy(self) -> tuple[Status, Judgement]:
        """Wait until Ceph is well; else NotVerified with its reasons."""
        count = len(self.nodes)

        told = ""

        def read() -> tuple[Status, Judgement]:
            nonlocal told
            status = read_status(self.nodes[0])
            judgement = judge(status, monitors=count, osds=count)
            if not judgement.is_good and judgement.sentence() != told:
                told = judgement.sentence()
                self.say(f"not healthy yet: {told}")
            return status, judgement

        try:
            return self._wait(read, lambda found: found[1].is_good, "Ceph is healthy", HEALTH_SECONDS)
        except TimedOut as error:
            _, judgement = read()
            raise NotVerified(
                "Ceph is not healthy",
                why=judgement.sentence()[:600],
                fix=f"on {self.nodes[0].machine}: sudo ceph health detail; when it is mended, materialize this again",
            ) from error

    # changes ----------------------------------------------------------------------------------------------------------

    def _make(self, action: Action) -> None:
        match action.kind:
            case "install":
                self._install(self._node(action))
            case "init":
                self._init(self._node(action))
            case "monitor":
                self._monitor(self._node(action), action)
            case "setting":
                self._setting(action)
            case "manager":
                node = self._node(action)
                change(node, ["pveceph", "mgr", "create"], action.line)
                self._see_manager(node)
            case "partition":
                self._partition(self._node(action), _gap_of(action))
            case "reread":
                self._reread(self._node(action), action.target)
            case "clear":
                change(self._node(action), ["ceph-volume", "lvm", "zap", "--destroy", action.target], action.line)
            case "osd":
                self._osd(self._node(action), action)

    def _install(self, node: Node) -> None:
        argv = ["pveceph", "install", "--repository", "no-subscription", "--version", planning.RELEASE]
        change(node, argv, f"install Ceph on {node.name}", timeout=INSTALL_SECONDS, given=YES)
        if not observing.has_packages(node):
            raise _not_there(node, "the packages of Ceph are not installed", "pveceph install said that they were")

    def _init(self, node: Node) -> None:
        size, least = str(self.wanted.size), str(self.wanted.min_size)
        argv = ["pveceph", "init", "--network", self.wanted.network, "--size", size, "--min_size", least]
        change(node, argv, "write the configuration of Ceph")
        conf = observing.read_conf(node)
        if conf is None or conf["fsid"] is None or conf["network"] != self.wanted.network:
            raise _not_there(node, f"{observing.CONF} is not as it was written", f"it says {conf}")

    def _monitor(self, node: Node, action: Action) -> None:
        change(node, ["pveceph", "mon", "create", "--mon-address", action.target], action.line)
        self._wait(
            lambda: observing.in_quorum(node),
            lambda names: node.name in names,
            f"the monitor of {node.name} is in the quorum",
        )
        self._see_manager(node)

    def _see_manager(self, node: Node) -> None:
        self._wait(
            lambda: observing.managers(node), lambda names: node.name in names, f"the manager of {node.name} answers"
        )

    def _setting(self, action: Action) -> None:
        name, _, value = action.target.partition("=")
        node = self.nodes[0]
        change(node, ["ceph", "config", "set", action.subject, name, value], action.line)
        if observing.settings(node).get((action.subject, name)) != value:
            raise _not_there(node, f"{name} of {action.subject} is not {value}", "it was set a moment ago")

    def _partition(self, node: Node, gap: Gap) -> Place:
        change(node, planning.partition_command(gap), f"make the partition {gap.path} of {node.name}")
        return self._reread(node, gap.disk)

    def _reread(self, node: Node, disk: str) -> Place:
        """The disk is in use, so its table is not read again by itself."""
        change(node, ["partx", "--update", disk], f"read the partitions of {disk} again")
        change(node, ["udevadm", "settle"], "wait for the new device")
        found = find_place(node)
        if not isinstance(found, Place):
            raise _not_there(node, f"the new partition of {disk} is not there", f"found instead: {found}")
        return found

    def _osd(self, node: Node, action: Action) -> None:
        path = action.target
        if not path:
            place = find_place(node)
            if isinstance(place, Unread):
                place = self._reread(node, place.disk)
            path = (self._partition(node, place) if isinstance(place, Gap) else place).path
        if path.startswith("/dev/"):
            change(node, ["pveceph", "osd", "create", path], action.line)
        else:
            ask(node, ["ceph", "auth", "get", "client.bootstrap-osd", "-o", KEYRING], "give ceph-volume its key")
            change(node, ["ceph-volume", "lvm", "create", "--data", path], action.line)
        self._wait(lambda: self._runs_on(node), lambda runs: runs, f"the OSD of {node.name} is up")

    def _runs_on(self, node: Node) -> bool:
        place = find_place(node)
        if not isinstance(place, Place) or place.osd is None:
            return False
        osd = observing.osds(node).get(place.osd)
        return osd is not None and osd.up and osd.host == node.name

    def _node(self, action: Action) -> Node:
        return next(node for node in self.nodes if node.name == action.subject)

    def _wait(
        self, read: Callable[[], Found], done: Callable[[Found], bool], what: str, timeout: float = DAEMON_SECONDS
    ) -> Found:
        return wait_for(read, done, what=what, timeout=timeout, pause=Pause(1, 10), clock=self.clock)


def _journal_subject(action: Action) -> str:
    return f"{action.subject} {action.target.partition('=')[0]}" if action.kind == "setting" else action.subject


def _gap_of(action: Action) -> Gap:
    if action.gap is None:
        raise ValueError("a partition is made in a gap")
    return action.gap


def _not_there(node: Node, what: str, why: str) -> NotVerified:
    return NotVerified(f"{node.machine}: {what}", why=why, fix="materialize proxmox/ceph again: it looks first")
