"""Jobs that can be disturbed: each a sandbox in which they stand, and pieces of work that begin from there again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import FoundationSpec, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline_tests.assets.conftest import enter
from ocifree_pipeline_tests.assets.native import standing as native_machines
from ocifree_pipeline_tests.assets.proxmox.world import standing as proxmox_machines
from ocifree_pipeline_tests.chaos import fault_matrix, test_cluster_crash, test_foundation_crash, test_proxmox_crash
from ocifree_pipeline_tests.chaos.crash import Trial, Work
from ocifree_pipeline_tests.chaos.doors import nodes, talos
from ocifree_pipeline_tests.chaos.whole_graph import Here, WholeGraph, whole_graph
from ocifree_pipeline_tests.systems.oci.foundation.conftest import native
from ocifree_pipeline_tests.systems.oci.furnished import furnish, teardown, what_is_there
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy


class Job(Protocol):
    def works(self) -> Iterator[Work[Any]]: ...

    def faults(self) -> Iterator[Trial]: ...


@dataclass(frozen=True)
class UpToMachines:
    """The whole graph up to SSH, asset by asset."""

    graph: WholeGraph

    def works(self) -> Iterator[Work[Here]]:
        for asset in self.graph.changing():
            most = len(self.graph.operations[asset])
            yield Work(
                asset,
                partial(self.graph.before, asset),
                lambda here, asset=asset: here.make(asset),  # type: ignore[misc]
                Here.in_words,
                again=lambda here, asset=asset: here.up_to(asset),  # type: ignore[misc]
                only=lambda calls, most=most: range(1, min(len(calls), most) + 1),  # type: ignore[misc]
            )

    def faults(self) -> Iterator[Trial]:
        return fault_matrix.rows(self.graph)


@dataclass(frozen=True)
class Pieces:
    """Pieces of work that stand for themselves."""

    pieces: tuple[Work[Any], ...]

    def works(self) -> Iterator[Work[Any]]:
        return iter(self.pieces)

    def faults(self) -> Iterator[Trial]:
        return iter(())


@contextmanager
def up_to_machines(folder: Path, topology: str) -> Iterator[UpToMachines]:
    with whole_graph(folder, topology) as graph:
        yield UpToMachines(graph)


@contextmanager
def foundation(folder: Path) -> Iterator[Pieces]:
    """The network and the addresses, without Dagster."""
    with test_foundation_crash.start(folder) as start:
        yield Pieces(
            tuple(
                Work(
                    "oci/" + "+".join(parts),
                    partial(_waiting_in_vain, start),
                    lambda here, parts=parts: test_foundation_crash.converge(native(here, _spec()), *parts),  # type: ignore[misc]
                    test_foundation_crash.settled,
                )
                for parts in (("network",), ("reserved_ips", "image_bucket"))
            )
        )


@contextmanager
def destroy(folder: Path) -> Iterator[Pieces]:
    """The end of a whole deployment."""
    with test_foundation_crash.start(folder, lambda here: furnish(here, _blueprint(), _spec()) and None) as start:
        yield Pieces(
            (Work("destroy", partial(_waiting_in_vain, start), lambda here: teardown(here).run(), what_is_there),)
        )


@contextmanager
def cluster(folder: Path) -> Iterator[Pieces]:
    """From a node without a configuration to a kubeconfig."""
    with native_machines(folder) as stood:
        yield Pieces(
            (
                Work(
                    "talos/cluster",
                    partial(test_cluster_crash.bare, stood, folder / "again"),
                    test_cluster_crash.make,
                    test_cluster_crash.look,
                    doors=(talos, test_cluster_crash.kept),
                    repeated=("file",),
                ),
            )
        )


@contextmanager
def proxmox(folder: Path) -> Iterator[Pieces]:
    """The cluster of Proxmox, a guest and a container on it; one call of each kind."""
    (folder / "standing").mkdir()
    (folder / "formed").mkdir()
    with proxmox_machines(folder / "standing") as stood:
        formed = stood.with_more(folder / "formed", *test_proxmox_crash.BEFORE_GUESTS)
        yield Pieces(
            tuple(
                Work(
                    ", ".join(bodies),
                    partial(test_proxmox_crash.begun, beginning, folder / "again"),
                    lambda here, bodies=bodies: test_proxmox_crash.act(here, bodies),  # type: ignore[misc]
                    test_proxmox_crash.look,
                    doors=(nodes,),
                    only=test_proxmox_crash.of_every_kind,
                )
                for beginning, bodies in (
                    (stood, test_proxmox_crash.CLUSTER),
                    (formed, test_proxmox_crash.GUEST),
                    (formed, test_proxmox_crash.CONTAINER),
                )
            )
        )


@contextmanager
def _waiting_in_vain(start: test_foundation_crash.Start) -> Iterator[Tenancy]:
    """The SDK sleeps by itself between its tries; that is virtual too."""
    with pytest.MonkeyPatch.context() as patched, start.again() as here:
        enter(patched, here.sandbox, {})
        yield here


def _blueprint() -> Blueprint:
    return blueprint_of(parse(example("proxmox-ceph")))


def _spec() -> FoundationSpec:
    blueprint = _blueprint()
    return foundation_of(blueprint.declaration, blueprint.plan.topology, blueprint.plan.reserved_ips)


JOBS: dict[str, Callable[[Path], AbstractContextManager[Job]]] = {
    "talos-native": partial(up_to_machines, topology="talos-native"),
    "proxmox-ceph": partial(up_to_machines, topology="proxmox-ceph"),
    "foundation": foundation,
    "destroy": destroy,
    "cluster": cluster,
    "proxmox": proxmox,
}
