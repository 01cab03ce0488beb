"""Proxmox to what its repositories offer, one node at a time, while the others carry on.

    upgrade = Upgrade(Gate("lab", nodes, print, Counts(3, 3)), journal)
    for turn in upgrade.plan():
        upgrade.take(turn)

A node that was begun with is in the journal until all of it was read back, so whoever died half-way goes on there.
While a node is away Ceph is told to wait for it (`noout`), and no longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, Refused, Transient
from ocifree_pipeline.systems.ceph.words import ask_ceph, change
from ocifree_pipeline.systems.journal import Intent, Journal
from ocifree_pipeline.systems.proxmox.evacuation import Evacuation, Leaving, running_on
from ocifree_pipeline.systems.proxmox.gates import FLAG, Gate, boot_id, wait_for_boot
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.proxmox.packages import Offer, install, offered

NODE, REBOOT, NOOUT = "upgrade a Proxmox node", "restart a Proxmox node", "let Ceph wait for a node"
LIFETIME = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one node is in for. `began` when an earlier run was stopped in the middle of it."""

    node: Node
    offer: Offer
    leaving: tuple[Leaving, ...]
    began: bool

    def lines(self) -> list[str]:
        what = "goes on where it was stopped" if self.began else f"{len(self.offer.packages)} packages: {self.offer}"
        return [f"{self.node.name}: {what}", *(f"{self.node.name}: {one}" for one in self.leaving)]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Of all nodes behind the gate. `critical` are the names of guests of which one may be away at a time."""

    gate: Gate
    journal: Journal
    critical: frozenset[str] = frozenset()

    def plan(self) -> list[Turn]:
        """The nodes that have something to install or were begun with; those first."""
        begun = {one.subject for one in self.journal.open_intents(NODE)}
        for intent in self.journal.open_intents(REBOOT):
            if intent.subject not in begun:
                self.journal.close(intent, "its node was done")
        turns = []
        for node in sorted(self.gate.nodes, key=lambda one: one.name not in begun):
            if node.name in begun:
                # It may be on its way back.
                wait_for_boot(node, bool, self.gate.clock)
                turns.append(Turn(node, Offer(()), (), began=True))
                continue
            offer = offered(node)
            if offer:
                leaving = tuple(self._evacuation(node).plan(self._others(node)))
                self._one_at_a_time(node, leaving)
                turns.append(Turn(node, offer, leaving, began=False))
        return turns

    def take(self, turn: Turn) -> None:
        """Upgrade one node; whatever is in doubt is an error, and the next run goes on from there."""
        try:
            self._take(turn)
        except OcifreeError as error:
            if self._open(NOOUT, turn.node):
                error.why += f"; {FLAG} stays set, so Ceph waits for {turn.node.name}"
            raise

    def _take(self, turn: Turn) -> None:
        node = turn.node
        evacuation = self._evacuation(node)
        evacuation.settle()
        intent = self._begin(turn)
        restarts = self._open(REBOOT, node)
        if not any(boot_id(node) != one.details["boot_id"] for one in restarts):
            self.gate.require(self.gate.doubts(waiting=True), node)
            self._set_noout(node)
            self._empty(evacuation)
            if not restarts:
                self.gate.say(f"{node.name}: install what is offered")
                install(node)
            self._reboot(node)
        self.gate.until(
            lambda: self.gate.doubts(waiting=True), f"the cluster is whole with {node.name}, and Ceph is clean"
        )
        sids = str(intent.details["guests"]).split()
        evacuation.back(sids, {one.name: one for one in self.gate.nodes})
        self._unset_noout(node)
        self.gate.until(self.gate.all_doubts, f"all is well with {node.name}")
        self.journal.close(intent, "upgraded")
        for one in self._open(REBOOT, node):
            self.journal.close(one, "restarted")

    # steps ------------------------------------------------------------------------------------------------------------

    def _begin(self, turn: Turn) -> Intent:
        node = turn.node
        if not turn.began:
            self.gate.require(self.gate.all_doubts(), node)
        guests = " ".join(one.sid for one in running_on(node, self._witness(node)))
        return self.journal.intend(NODE, node.name, {"guests": guests}, now=datetime.now(UTC), lifetime=LIFETIME)

    def _empty(self, evacuation: Evacuation) -> None:
        """What is critical goes down first: as long as it runs, nothing else may have been stopped."""
        node = evacuation.node
        leaving = evacuation.plan(self._others(node))
        self._one_at_a_time(node, leaving)
        stopped = [one for one in leaving if one.to is None]
        first = [one for one in stopped if one.guest.name in self.critical]
        if first:
            self.gate.require(self.gate.upstairs(), node)
        for one in (*(one for one in leaving if one.to), *first, *(one for one in stopped if one not in first)):
            evacuation.leave(one)
        left = running_on(node, evacuation.witness)
        if left:
            raise NotVerified(
                f"guests still run on {node.name}: {', '.join(map(str, left))}",
                why="they were moved away or shut down, and somebody has brought them back",
                fix="look who starts them; nothing was restarted",
            )

    def _one_at_a_time(self, node: Node, leaving: Sequence[Leaving]) -> None:
        down = [one.guest.name for one in leaving if one.to is None and one.guest.name in self.critical]
        if len(down) > 1:
            raise Refused(
                f"{' and '.join(down)} would be down at the same time",
                why=f"both run on {node.name}, no other node has room for one of them, and etcd needs a majority",
                fix=f"move one of them to a node without a control plane: qm migrate <number> <node> --online 1 "
                f"on {node.name}",
            )

    def _reboot(self, node: Node) -> None:
        """Heard or not: the node says another boot id when it is back."""
        details = {"boot_id": boot_id(node)}
        intent = self.journal.intend(REBOOT, node.name, details, now=datetime.now(UTC), lifetime=LIFETIME)
        before = str(intent.details["boot_id"])
        if details["boot_id"] == before:
            self.gate.say(f"{node.name}: restart")
            try:
                node.run(["systemctl", "reboot"]).checked(f"restart {node.name}")
            except Transient:
                self.gate.say(f"{node.name} went down before it answered")
        wait_for_boot(node, lambda seen: seen != before, self.gate.clock)

    def _open(self, operation: str, node: Node) -> list[Intent]:
        return [one for one in self.journal.open_intents(operation) if one.subject == node.name]

    # Ceph -------------------------------------------------------------------------------------------------------------

    def _set_noout(self, node: Node) -> None:
        if self.gate.ceph is None:
            return
        self.journal.intend(NOOUT, node.name, now=datetime.now(UTC), lifetime=LIFETIME)
        self._flag(node, "set", wanted=True)

    def _unset_noout(self, node: Node) -> None:
        for intent in self._open(NOOUT, node):
            self._flag(node, "unset", wanted=False)
            self.journal.close(intent, "taken back")

    def _flag(self, node: Node, verb: str, *, wanted: bool) -> None:
        witness = self._witness(node)
        if (FLAG in _flags(witness)) is wanted:
            return
        self.gate.say(f"{verb} {FLAG}")
        change(witness, ["ceph", "osd", verb, FLAG], f"{verb} {FLAG}")
        if (FLAG in _flags(witness)) is not wanted:
            raise NotVerified(
                f"{FLAG} is {'not set' if wanted else 'still set'}",
                why=f"`ceph osd {verb} {FLAG}` ended well",
                fix=f"on {witness.name}: ceph osd dump",
            )

    def _witness(self, node: Node) -> Node:
        """A node that stays up while this one restarts."""
        return next(iter(self._others(node)), node)

    def _others(self, node: Node) -> list[Node]:
        return [one for one in self.gate.nodes if one is not node]

    def _evacuation(self, node: Node) -> Evacuation:
        return Evacuation(node, self._witness(node), self.gate.say, self.gate.clock)


def _flags(node: Node) -> list[str]:
    return str(ask_ceph(node, "osd", "dump")["flags"]).split(",")
