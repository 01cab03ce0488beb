"""etcd from a snapshot: whatever etcd there is goes, and the first control plane starts a new one from the file.

Two intents keep it resumable. While only the first is open, what the control planes hold is the old etcd and is wiped.
Once the second is open all of them were empty, so what one of them holds since is what was restored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from ocifree_pipeline.deployment.errors import NeedsConfirmation, Transient
from ocifree_pipeline.systems.journal import Intent, Journal
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, wait_for
from ocifree_pipeline.systems.talos.client import Talos
from ocifree_pipeline.systems.talos.cluster import ETCD, PREPARING, Nodes, start_etcd

WIPE, RECOVER = "talos.restore", "talos.recover"
EPHEMERAL = "EPHEMERAL"
"""What etcd and the kubelet wrote. The configuration, with its secrets, stays."""
AGREED_FOR = timedelta(hours=1)
"""How long a name that was typed lets a restore go on that broke off while it wiped."""
RESUMABLE = timedelta(days=30)
AGAIN = "ocifree restore"


def under_way(journal: Journal, cluster: str) -> tuple[Intent, ...]:
    """What a restore that broke off has left open."""
    return tuple(one for kind in (WIPE, RECOVER) for one in journal.open_intents(kind) if one.subject == cluster)


def end(journal: Journal, cluster: str, result: str) -> None:
    for intent in under_way(journal, cluster):
        journal.close(intent, result)


def restore(
    nodes: Nodes,
    cluster: str,
    snapshot: Path,
    backup: str,
    journal: Journal,
    *,
    say: Callable[[str], None],
    agreed: bool,
    now: Callable[[], datetime],
    timeout: float,
    clock: Clock = time,
) -> None:
    """Until etcd runs on the first control plane with what the snapshot holds. The others join it by themselves.

    `agreed`: a person typed that an etcd that lives may be replaced.
    """
    for other in under_way(journal, cluster):
        if other.details.get("backup") != backup:
            journal.close(other, f"{backup} is wanted instead")
    if not any(one.operation == RECOVER for one in under_way(journal, cluster)):
        holding = wait_for(
            lambda: holders(nodes),
            lambda seen: True,
            what="every control plane says whether it holds an etcd",
            timeout=timeout,
            clock=clock,
        )
        if holding:
            _require_agreement(journal, cluster, holding, agreed=agreed, now=now)
            journal.intend(WIPE, cluster, {"backup": backup}, now=now(), lifetime=AGREED_FOR)
            say(f"wipe what etcd has written on {', '.join(holding)}")
            _wipe(nodes, timeout, clock)
    first = nodes.control_planes[0]
    journal.intend(RECOVER, cluster, {"backup": backup, "node": first.hostname}, now=now(), lifetime=RESUMABLE)

    def start(node: Talos) -> None:
        if not _holds_etcd(node):
            say(f"{first.hostname}: start etcd from {backup}")
            node.recover(snapshot)
            node.bootstrap(from_snapshot=True)

    start_etcd(nodes, start, timeout=timeout, clock=clock)


def holders(nodes: Nodes) -> tuple[str, ...]:
    """The control planes on which there is an etcd. One that does not answer may hold one, so it is an error."""
    found = []
    for place in nodes.control_planes:
        with nodes.open(place) as node:
            if _holds_etcd(node):
                found.append(place.hostname)
    return tuple(found)


def _holds_etcd(node: Talos) -> bool:
    service = node.services().get(ETCD)
    return service is not None and service.state != PREPARING


def _wipe(nodes: Nodes, timeout: float, clock: Clock) -> None:
    """All of them before any is waited for: those that are left over would go on as a cluster."""

    def look() -> list[str]:
        left = []
        for place in nodes.control_planes:
            try:
                with nodes.open(place) as node:
                    if _holds_etcd(node):
                        left.append(place.hostname)
                        node.reset(graceful=False, labels=(EPHEMERAL,))
            except Transient:
                left.append(place.hostname)
        return left

    wait_for(
        look,
        lambda left: not left,
        what="every control plane is without an etcd",
        timeout=timeout,
        pause=Pause(10, 30),
        clock=clock,
    )


def _require_agreement(
    journal: Journal, cluster: str, holding: tuple[str, ...], *, agreed: bool, now: Callable[[], datetime]
) -> None:
    typed_before = any(now() < one.deadline for one in under_way(journal, cluster))
    if agreed or typed_before:
        return
    raise NeedsConfirmation(
        f"nothing was restored: {cluster} lives on {', '.join(holding)}",
        why="a restore takes it back to the backup; everything that was made or changed since is lost",
        fix=f"`{AGAIN}` and type the name of the deployment; in scripts: `{AGAIN} --yes {cluster}`",
    )
