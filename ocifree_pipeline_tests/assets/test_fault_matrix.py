"""Every known fault at every call that changes something: the right reaction, and one and the same end after it.

The whole matrix takes minutes and is for the long lane; what runs always is every other call, each with another fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ocifree_pipeline_tests.chaos.crash import Way, trials
from ocifree_pipeline_tests.chaos.fault_catalogue import CATALOGUE
from ocifree_pipeline_tests.chaos.fault_matrix import Cell, cells, wrong_with
from ocifree_pipeline_tests.chaos.jobs import UpToMachines
from ocifree_pipeline_tests.chaos.ways import CLOCK, DISK, PARTITION, POWER
from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph, whole_graph


def sample(graph: WholeGraph) -> Iterator[Cell]:
    """Every other operation with one fault of its own, the faults in turn."""
    by_operation: dict[str, list[Cell]] = {}
    for cell in cells(graph):
        by_operation.setdefault(cell.operation, []).append(cell)
    for number, found in enumerate(list(by_operation.values())[1::2]):
        yield found[number * 5 % len(found)]


def test_a_fault_at_each_call(native: WholeGraph) -> None:
    wrong = {cell.name: problem for cell in sample(native) if (problem := wrong_with(native, cell))}
    assert wrong == {}


@pytest.mark.parametrize(
    "way",
    [
        next(way for way in ways if words in way.name)
        for ways, words in (
            (PARTITION, "cut off for 2 hours, before"),
            (CLOCK, "2 hours ahead, after"),
            (CLOCK, "set back"),
            (DISK, "minute"),
            (DISK, "full, before"),
            (POWER, "before"),
        )
    ],
    ids=lambda way: way.name,
)
def test_trouble_with_network_clock_disk_and_power_at_one_call(native: WholeGraph, way: Way) -> None:
    work = next(work for work in UpToMachines(native).works() if work.name == "oci/reserved_ips")
    (row,) = trials(replace(work, only=lambda calls: [len(calls)]), [way])
    assert row.is_fine, row


def test_the_matrix_knows_every_call_and_every_fault(native: WholeGraph) -> None:
    known = list(cells(native))
    launched = {cell.fault.name for cell in known if cell.operation == "LaunchInstance"}
    assert launched == {fault.name for fault in CATALOGUE}
    assert {"CreateQuota", "CreateVcn", "PutObject", "CreateImage", "LaunchInstance"} <= {c.operation for c in known}


@pytest.mark.exhaustive
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("topology", ["talos-native", "proxmox-ceph"])
def test_every_fault_at_every_call(topology: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    with whole_graph(tmp_path_factory.mktemp("whole"), topology) as graph:
        matrix = list(cells(graph))
        wrong = {cell.name: problem for cell in matrix if (problem := wrong_with(graph, cell))}
    assert wrong == {}
    assert len(matrix) > 20 * 18
