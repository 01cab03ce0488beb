"""A rehearsal of a loss: a node goes down without a warning, and the others are watched until it is back."""

from __future__ import annotations

from dataclasses import dataclass

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, Transient
from ocifree_pipeline.systems.ceph.status import is_served, read_status
from ocifree_pipeline.systems.proxmox.evacuation import Evacuation, running_on
from ocifree_pipeline.systems.proxmox.gates import BOOT_SECONDS, Gate, boot_id, wait_for_boot
from ocifree_pipeline.systems.proxmox.membership import view_of
from ocifree_pipeline.systems.proxmox.node import Node

LOOK_SECONDS = 2.0
STILL_SECONDS = 60.0
"""How long storage may stand still: until an OSD is given up that says nothing (20 s), and its groups agree anew."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How a loss went. `still` is for how long some of the storage did not answer."""

    node: str
    away: float
    still: float

    def __str__(self) -> str:
        return f"{self.node} was away for {self.away:.0f} s, and storage stood still for {self.still:.0f} s of them"


def lose(gate: Gate, node: Node) -> Loss:
    """Nothing is moved away or told before. Everything is whole again when this returns."""
    others = [one for one in gate.nodes if one is not node]
    gate.require(gate.all_doubts(), node)
    sids = [one.sid for one in running_on(node, others[0])]
    before = boot_id(node)
    gate.say(f"{node.name} goes down, with {len(sids)} guests")
    try:
        node.run(["systemctl", "reboot", "--force", "--force"]).checked(f"let {node.name} go down")
    except Transient:
        gate.say(f"{node.name} went down before it answered")
    loss = _watch(gate, node, others, before)
    wait_for_boot(node, lambda seen: seen != before, gate.clock)
    gate.until(gate.doubts, f"the cluster is whole with {node.name}")
    Evacuation(node, others[0], gate.say, gate.clock).back(sids, {one.name: one for one in gate.nodes})
    gate.until(gate.all_doubts, f"all is well with {node.name}")
    gate.say(str(loss))
    return loss


def _watch(gate: Gate, node: Node, others: list[Node], before: str) -> Loss:
    """Until it has started anew. NotVerified when the others lost their quorum, or storage for too long."""
    clock = gate.clock
    start = last = clock.monotonic()
    still = 0.0
    while not _is_back(node, before):
        now = clock.monotonic()
        if now - start > BOOT_SECONDS:
            break
        blind = [one.name for one in others if not view_of(one).quorate]
        if blind:
            raise NotVerified(
                f"without {node.name}, {' and '.join(blind)} lost the quorum",
                why="the cluster does not tolerate the loss of one node",
                fix="pvecm status on each of them; the node is on its way back",
            )
        still = still + now - last if gate.ceph is not None and not _goes_on(others[0]) else still
        if still > STILL_SECONDS:
            raise NotVerified(
                f"without {node.name}, storage stands still",
                why=f"some placement groups have not been active for {still:.0f} s; with `min_size: 2` that is so",
                fix="the node is on its way back; `ceph.min_size` in docs/ceph.md says what may be chosen",
            )
        last = now
        clock.sleep(LOOK_SECONDS)
    return Loss(node.name, clock.monotonic() - start, still)


def _is_back(node: Node, before: str) -> bool:
    try:
        return boot_id(node) != before
    except OcifreeError:
        return False


def _goes_on(witness: Node) -> bool:
    """Every placement group can be read and written."""
    return all(map(is_served, read_status(witness).groups))
