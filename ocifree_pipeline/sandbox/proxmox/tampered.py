"""The time as a node's own clock has it."""

from ocifree_pipeline.sandbox.machines import tampering
from ocifree_pipeline.sandbox.proxmox.nodes import Node


def now(node: Node) -> float:
    return node.world.clock.now().timestamp() + tampering.skew(node.machine)
