"""Every fault of the catalogue at every call of the graph that changes something at Oracle.

The calls are those that the undisturbed run was seen to make, so a new one is covered as soon as it exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ocifree_pipeline.deployment.errors import OcifreeError, Reaction, reaction_to
from ocifree_pipeline_tests.chaos.fault_catalogue import CATALOGUE, Fault
from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph

LOST = ("done, and the reply is an error", "done, and the connection is cut", "done, and the reply breaks off")
HEALED = {
    ("LaunchInstance", LOST): "the launch looks for its machine before it gives up",
    ("PutObject", LOST): "storing the same bytes under the same name again is safe, so it is tried again at once",
    ("DeleteObject", LOST[2:]): "an empty reply cannot break off",
}
"""Cells that heal within the call, and why that is right."""


@dataclass(frozen=True, slots=True)
class Cell:
    asset: str
    operation: str
    fault: Fault

    @property
    def name(self) -> str:
        return f"{self.operation}: {self.fault.name}"

    @property
    def reaction(self) -> Reaction | None:
        healed = any(self.operation == operation and self.fault.name in names for operation, names in HEALED)
        return None if healed else self.fault.reaction


def cells(graph: WholeGraph) -> Iterator[Cell]:
    """Each operation in the first asset that makes it."""
    seen: set[str] = set()
    for asset in graph.changing():
        for operation in graph.operations[asset]:
            if operation not in seen:
                seen.add(operation)
                yield from (Cell(asset, operation, one) for one in CATALOGUE if not one.only or operation in one.only)


def wrong_with(graph: WholeGraph, cell: Cell) -> str | None:
    """What is not as it should be: the reaction, the words, or the end once the fault is gone."""
    with graph.before(cell.asset) as here:
        here.sandbox.faults.add(cell.fault.rule(cell.operation))
        error: OcifreeError | None = None
        try:
            here.make(cell.asset)
        except OcifreeError as raised:
            error = raised
        fired = len(here.sandbox.faults.fired)
        here.sandbox.faults.clear()
        if not fired:
            return "the fault never struck"
        if (reaction_to(error) if error else None) is not cell.reaction:
            return f"{reaction_to(error).name if error else 'no reaction'} instead of {cell.reaction}: {error}"
        if error and not isinstance(error, cell.fault.kinds):
            return f"{type(error).__name__} is none of {[one.__name__ for one in cell.fault.kinds]}: {error}"
        if error and not (error.what and error.why and error.fix):
            return f"it does not say what, why and what to do: {error!r}"
        here.make(cell.asset)
        if here.in_words() != graph.ends[cell.asset]:
            return "once the fault was gone, the end was another one"
    return None
