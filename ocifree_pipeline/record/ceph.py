"""Facts of proxmox/ceph and proxmox/ceph_pool, and the node that is asked how Ceph is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.proxmox import nodes_of
from ocifree_pipeline.systems.proxmox.node import Node

CEPH = "proxmox/ceph"
POOL = "proxmox/ceph_pool"


class OsdFacts(Facts):
    """One OSD: the node that it is on, as Proxmox calls it, and the partition or volume below it."""

    number: str
    node: str
    path: str


class CephFacts(Facts):
    """proxmox/ceph: who it is. How it is, is asked each time."""

    fsid: str
    network: str
    monitors: dict[str, str]
    managers: tuple[str, ...]
    osds: tuple[OsdFacts, ...]


class PoolFacts(Facts):
    """proxmox/ceph_pool: the pool, and the storage of the same name that guests' disks are put on."""

    pool: str
    number: int
    size: int
    min_size: int
    storage: str


@contextmanager
def witness(step: Step) -> Iterator[Node]:
    """The first node that lets us in: one that is away must not keep us from asking how the others are."""
    with ExitStack() as stack:
        yield _first(step, stack)


def _first(step: Step, stack: ExitStack) -> Node:
    said = []
    for machine in step.blueprint.plan.ampere:
        try:
            (node,) = stack.enter_context(nodes_of(step, [machine]))
        except Transient as error:
            said.append(error.what)
        else:
            return node
    raise Transient(
        "no node answers, so nobody can say how Ceph is",
        why="; ".join(said)[:400],
        fix="`ocifree verify` says which machines answer",
    )
