"""Every fault of the catalogue at every call of the graph that changes something at Oracle.

The calls are those that the undisturbed run was seen to make, so a new one is covered as soon as it exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError, Reaction, reaction_to
from ocifree_pipeline_tests.chaos.crash import FINE, Trial
from ocifree_pipeline_tests.chaos.fault_catalogue import CATALOGUE, Fault
from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph

LOST = frozenset(fault.name for fault in CATALOGUE if fault.reaction is Reaction.RETRY and fault.times is not None)
PASSING = frozenset(fault.name for fault in CATALOGUE if fault.reaction is Reaction.RETRY)


@dataclass(frozen=True, slots=True)
class Exempt:
    """Cells that end otherwise than their fault does elsewhere, and why that is right."""

    operation: str
    faults: frozenset[str]
    reaction: Reaction | None
    why: str
    kinds: tuple[type[OcifreeError], ...] = ()


EXEMPT = (
    Exempt("LaunchInstance", LOST, None, "the launch looks for its machine before it gives up"),
    Exempt("PutObject", LOST, None, "the same bytes under the same name may be stored again at once"),
    Exempt("DeleteObject", frozenset({"done, and the reply breaks off"}), None, "an empty reply cannot break off"),
    Exempt("CaptureConsoleHistory", LOST, None, "it is asked again as long as the guest has published no key"),
    Exempt("CaptureConsoleHistory", PASSING - LOST, Reaction.STOP,
           "it was tried for a quarter of an hour; twice more would not help", (NotVerified,)),
    Exempt("DeleteConsoleHistory", PASSING, None, "what stays is free, goes with its instance, and must hide nothing"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    asset: str
    operation: str
    fault: Fault

    @property
    def name(self) -> str:
        return f"{self.operation}: {self.fault.name}"

    @property
    def exempt(self) -> Exempt | None:
        return next((e for e in EXEMPT if e.operation == self.operation and self.fault.name in e.faults), None)

    @property
    def reaction(self) -> Reaction | None:
        return self.exempt.reaction if self.exempt else self.fault.reaction

    @property
    def kinds(self) -> tuple[type[OcifreeError], ...]:
        return self.exempt.kinds if self.exempt else self.fault.kinds


def cells(graph: WholeGraph) -> Iterator[Cell]:
    """Each operation in the first asset that makes it."""
    seen: set[str] = set()
    for asset in graph.changing():
        for operation in graph.operations[asset]:
            if operation not in seen:
                seen.add(operation)
                yield from (Cell(asset, operation, one) for one in CATALOGUE if not one.only or operation in one.only)


def rows(graph: WholeGraph) -> Iterator[Trial]:
    """The whole matrix, as a table shows it."""
    numbers: dict[str, int] = {}
    for cell in cells(graph):
        number = numbers.setdefault(cell.operation, len(numbers) + 1)
        yield Trial(cell.asset, number, cell.operation, cell.fault.name, wrong_with(graph, cell) or FINE)


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
        if error and not isinstance(error, cell.kinds):
            return f"{type(error).__name__} is none of {[one.__name__ for one in cell.kinds]}: {error}"
        if error and not (error.what and error.why and error.fix):
            return f"it does not say what, why and what to do: {error!r}"
        here.make(cell.asset)
        passing = "consolehistory" if cell.operation == "DeleteConsoleHistory" else "nothing"
        if [one for one in here.in_words() if not one.startswith(passing)] != graph.ends[cell.asset]:
            return "once the fault was gone, the end was another one"
    return None
