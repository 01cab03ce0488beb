"""Jobs that can be disturbed: each a sandbox in which they stand, and pieces of work that begin from there again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ocifree_pipeline_tests.chaos import fault_matrix
from ocifree_pipeline_tests.chaos.crash import Trial, Work
from ocifree_pipeline_tests.chaos.whole_graph import Here, WholeGraph, whole_graph


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


@contextmanager
def up_to_machines(folder: Path, topology: str) -> Iterator[UpToMachines]:
    with whole_graph(folder, topology) as graph:
        yield UpToMachines(graph)


JOBS: dict[str, Callable[[Path], AbstractContextManager[Job]]] = {
    "talos-native": partial(up_to_machines, topology="talos-native"),
    "proxmox-ceph": partial(up_to_machines, topology="proxmox-ceph"),
}
