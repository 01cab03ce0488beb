"""Whether nodes reach each other where a cluster needs it, asked before anything is changed.

Corosync speaks UDP, which says nothing when it is dropped; whether it gets through, only the join itself shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.proxmox.node import Node

PORTS: Mapping[int, str] = {22: "guests move over SSH", 8006: "a node joins over the API"}
SECONDS = 10


def reaches(node: Node, address: str, port: int) -> bool:
    """With what every Debian has: bash opens connections by itself."""
    return node.run(["timeout", str(SECONDS), "bash", "-c", f": > /dev/tcp/{address}/{port}"]).exit == 0


def require_open(pairs: Iterable[tuple[Node, Node]]) -> None:
    """Each of a pair reaches the other."""
    shut = [
        (one, other, port)
        for pair in pairs
        for one, other in (pair, pair[::-1])
        for port in PORTS
        if not reaches(one, other.address, port)
    ]
    if shut:
        raise PreconditionMissing(
            f"{shut[0][0].name} does not reach {shut[0][1].name} at TCP {shut[0][2]}",
            why="; ".join(f"{one.name} -> {other.name}: {PORTS[port]}" for one, other, port in shut)[:400],
            fix="ocifree up --select 'oci/network' opens the ports between nodes; on the node: ss -ltn",
        )
