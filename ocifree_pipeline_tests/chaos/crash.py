"""Kill a piece of work at every call that changes something at Oracle, before it and after it; resume; compare.

    crash_everywhere(fresh, act, look)                    # any piece of work
    python -m ocifree_pipeline_tests.chaos.crash          # the whole graph, as a table of call x outcome

`fresh` makes a new world, `act` is the work (each time as a new process would start it), `look` describes the end. The
undisturbed run says what the end has to be. A kill is a BaseException that no production code may catch: nothing is
tidied up, and what is remembered is what was on disk.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from unittest.mock import patch

import oci.base_client
import pytest

if TYPE_CHECKING:
    from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph

Here = TypeVar("Here")
Moment = Literal["before", "after"]

_READING = frozenset({"GET", "HEAD"})
FINE = "same end"


class Killed(BaseException):
    """The process died here."""


@dataclass
class Calls:
    """How many calls that change something were made, and which."""

    operations: list[str]

    @property
    def number(self) -> int:
        return len(self.operations)


@dataclass(frozen=True, slots=True)
class Death:
    """One kill and what came of it."""

    asset: str
    call: str
    moment: Moment
    outcome: str

    @property
    def is_fine(self) -> bool:
        return self.outcome == FINE


Counting = Callable[..., AbstractContextManager[Calls]]


@contextmanager
def counted(kill_at: int | None = None, moment: Moment = "before") -> Iterator[Calls]:
    """Count the changing calls of every SDK client; die at one of them (the first is 1)."""
    calls = Calls([])
    call = oci.base_client.BaseClient.call_api

    def counting(self: Any, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        if method.upper() in _READING:
            return call(self, resource_path, method, *args, **kwargs)
        calls.operations.append(f"{method} {resource_path}")
        if calls.number == kill_at and moment == "before":
            raise Killed(calls.operations[-1])
        answer = call(self, resource_path, method, *args, **kwargs)
        if calls.number == kill_at:
            raise Killed(calls.operations[-1])
        return answer

    with patch.object(oci.base_client.BaseClient, "call_api", counting):
        yield calls


def crash_everywhere(
    fresh: Callable[[], AbstractContextManager[Here]],
    act: Callable[[Here], object],
    look: Callable[[Here], object],
    *,
    at_least: int = 1,
    counting: Counting = counted,
) -> Calls:
    """Every call, both moments. `at_least` guards against work that no longer does anything.

    `counting` is told the number of the call at which to die, and the moment; calls of Oracle, if nothing is said.
    """
    with fresh() as here:
        with counting() as calls:
            act(here)
        expected = look(here)
    assert calls.number >= at_least, calls.operations
    for number, operation in enumerate(calls.operations, start=1):
        for moment in ("before", "after"):
            with fresh() as here:
                with pytest.raises(Killed), counting(number, moment):
                    act(here)
                act(here)
                assert look(here) == expected, f"killed {moment} call {number}, {operation}"
                with counting() as again:
                    act(here)
                assert again.operations == [], f"a third run changed something after a kill {moment} {operation}"
    return calls


def deaths(graph: WholeGraph) -> Iterator[Death]:
    """Every call of every asset up to SSH, both moments.

    Each kill begins at the moment before its asset, so what stands before need not be made again. Killed before the
    call, the asset alone is resumed; killed after it, everything is, from the first asset on, as `ocifree up` would.
    """
    for asset in graph.changing():
        with graph.before(asset) as here, counted() as calls:
            here.make(asset)
            alone = here.in_words()
        with graph.before(asset) as here:
            here.up_to(asset)
            with_all_before = here.in_words()
        once = calls.operations[: len(graph.operations[asset])]
        for number, call in enumerate(once, start=1):
            yield _killed(graph, Death(asset, call, "before", FINE), number, alone)
            yield _killed(graph, Death(asset, call, "after", FINE), number, with_all_before)


def _killed(graph: WholeGraph, hoped: Death, number: int, expected: list[str]) -> Death:
    asset = hoped.asset
    with graph.before(asset) as here:
        with pytest.raises(Killed), counted(number, hoped.moment):
            here.make(asset)
        try:
            if hoped.moment == "before":
                here.make(asset)
            else:
                here.up_to(asset)
            found = here.in_words()
            with counted() as again:
                here.make(asset)
        except Exception as error:
            return replace(hoped, outcome=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    missing, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if missing or more:
        return replace(hoped, outcome=f"missing: {sorted(missing)}; too much: {sorted(more)}")
    if again.operations:
        return replace(hoped, outcome=f"a third run changed something: {again.operations}")
    return hoped


def table(rows: Iterable[Death]) -> Iterator[str]:
    """One line for each call of each asset."""
    yield "| asset | call | killed before it | killed after it |"
    yield "| --- | --- | --- | --- |"
    waiting: Death | None = None
    for row in rows:
        if waiting is None:
            waiting = row
            continue
        yield f"| {row.asset} | {row.call} | {waiting.outcome} | {row.outcome} |"
        waiting = None


def main() -> int:
    """0 when every kill ended as the undisturbed run did."""
    from ocifree_pipeline_tests.chaos.whole_graph import whole_graph

    parser = argparse.ArgumentParser(description="Kill the whole graph at every call that changes something at Oracle.")
    parser.add_argument("topology", nargs="*", default=["talos-native", "proxmox-ceph"])
    logging.disable(logging.CRITICAL)
    fine = True
    for topology in parser.parse_args().topology:
        began = time.perf_counter()
        print(f"\n## {topology}\n")
        rows: list[Death] = []
        with tempfile.TemporaryDirectory() as folder, whole_graph(Path(folder), topology) as graph:

            def kept(found: Iterator[Death], rows: list[Death] = rows) -> Iterator[Death]:
                for row in found:
                    rows.append(row)
                    yield row

            for line in table(kept(deaths(graph))):
                print(line, flush=True)
        bad = [row for row in rows if not row.is_fine]
        print(f"\n{len(rows)} kills, {len(bad)} with another end, {time.perf_counter() - began:.0f} s")
        fine = fine and bool(rows) and not bad
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
