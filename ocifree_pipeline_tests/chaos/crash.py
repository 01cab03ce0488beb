"""Let something happen to a piece of work at every call that changes something, before it and after it; run it again;
compare what stands.

    crash_everywhere(fresh, act, look)                         # any piece of work, killed everywhere
    trials(Work("network", fresh, act, look), ways)            # the same with any of chaos/ways.py
    python -m ocifree_pipeline_tests.chaos talos-native        # whole jobs, as a table of call x outcome

`fresh` makes a new world, `act` is the work (each time as a new process would start it), `look` describes the end. The
undisturbed run says which calls there are and what the end has to be. The run that is struck may go on, or end with an
error of a class that its way allows, and in words; the next run has to reach the same end, and one more may change
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ocifree_pipeline.deployment.errors import NotVerified, OcifreeError
from ocifree_pipeline_tests.chaos.doors import Calls, Door, Killed, Moment, counted, die, oracle

__all__ = ["Calls", "Killed", "Moment", "counted"]

Here = TypeVar("Here")

FINE = "same end"


@dataclass(frozen=True, slots=True)
class Way:
    """One thing that may happen. `around` makes ready for it, yields what strikes, and takes the trouble away again.

    `ends` are the errors that the run may end with; none means that it has to go on. `once` means that it belongs to no
    call: it is there from the beginning. `from_the_start` resumes with all that comes before. `later` is what passes
    before the next run, and would have passed undisturbed too. `may_leave` is a kind of thing that is free, goes with
    what it belongs to, and whose removal must hide no error.
    """

    name: str
    moment: Moment
    around: Callable[[Any], AbstractContextManager[Callable[[], object]]]
    ends: tuple[type[BaseException], ...] = ()
    once: bool = False
    from_the_start: bool = False
    later: Callable[[Any], object] | None = None
    may_leave: str = ""


@contextmanager
def _deadly(here: object) -> Iterator[Callable[[], object]]:
    yield die


CRASH = (
    Way("killed before it", "before", _deadly, (Killed,)),
    Way("killed after it", "after", _deadly, (Killed,), from_the_start=True),
)


def every(calls: list[str]) -> range:
    return range(1, len(calls) + 1)


@dataclass(frozen=True)
class Work(Generic[Here]):
    """A piece of work. `again` is how it is resumed with all that comes before, if that is not `act`."""

    name: str
    fresh: Callable[[], AbstractContextManager[Here]]
    act: Callable[[Here], object]
    look: Callable[[Here], object]
    again: Callable[[Here], object] | None = None
    doors: tuple[Door, ...] = (oracle,)
    only: Callable[[list[str]], Iterable[int]] = every
    """Which of the calls, counted from 1, are tried."""
    repeated: tuple[str, ...] = ()
    """What every run does once more."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one way at one call."""

    work: str
    number: int
    call: str
    way: str
    outcome: str

    @property
    def is_fine(self) -> bool:
        return self.outcome.endswith(FINE)


def trials(work: Work[Here], ways: Iterable[Way], *, turns: Iterator[int] | None = None) -> Iterator[Trial]:
    """Every call, every way; with turns, every call the way whose turn it is."""
    ends: dict[tuple[bool, object], object] = {}

    def end(way: Way) -> object:
        """What stands where nothing disturbed it."""
        known = (way.from_the_start and work.again is not None, way.later)
        if known not in ends:
            with work.fresh() as here:
                _resumed(work, way)(here)
                if way.later:
                    way.later(here)
                ends[known] = work.look(here)
        return ends[known]

    with work.fresh() as here:
        with counted(doors=work.doors) as calls:
            work.act(here)
        ends[False, None] = work.look(here)
    at_calls, throughout = [way for way in ways if not way.once], [way for way in ways if way.once]
    for number in work.only(calls.operations):
        for way in at_calls if turns is None else [at_calls[next(turns) % len(at_calls)]]:
            outcome = _tried(work, number, way, end(way))
            yield Trial(work.name, number, calls.operations[number - 1], way.name, outcome)
    for way in throughout:
        if calls.number:
            yield Trial(work.name, 0, "all of them", way.name, _tried(work, 1, way, end(way)))


def _resumed(work: Work[Here], way: Way) -> Callable[[Here], object]:
    return work.again if work.again and way.from_the_start else work.act


def _tried(work: Work[Here], number: int, way: Way, expected: object) -> str:
    said = ""
    with work.fresh() as here:
        with way.around(here) as strike, counted(number, way.moment, strike, doors=work.doors) as first:
            try:
                work.act(here)
            except (Killed, Exception) as error:
                if not isinstance(error, way.ends):
                    return f"{type(error).__name__}: {error}".splitlines()[0]
                if isinstance(error, OcifreeError):
                    if not (error.what and error.why and error.fix):
                        return f"it does not say what, why and what to do: {error!r}"
                    if isinstance(error, NotVerified) and "again" not in error.fix:
                        return f"it does not say that another run goes on: {error!r}"
                    said = f"{type(error).__name__}, "
            else:
                if Killed in way.ends:
                    return "it survived"
            if first.number < number:
                return f"it made {first.number} calls only"
        try:
            if way.later:
                way.later(here)
            _resumed(work, way)(here)
            found = work.look(here)
            with counted(doors=work.doors) as once_more:
                work.act(here)
        except Exception as error:
            return f"the next run: {type(error).__name__}: {error}".splitlines()[0]
    expected, found = _what_counts(expected, way), _what_counts(found, way)
    if found != expected:
        return _different(expected, found)
    if once_more.operations != list(work.repeated):
        return f"a third run changed something: {once_more.operations}"
    return said + FINE


def _what_counts(seen: object, way: Way) -> object:
    if way.may_leave and isinstance(seen, list):
        return [line for line in seen if not str(line).startswith(way.may_leave)]
    return seen


def _different(expected: object, found: object) -> str:
    if isinstance(expected, list) and isinstance(found, list):
        missing, more = Counter(map(str, expected)), Counter(map(str, found))
        return f"missing: {sorted(missing - more)}; too much: {sorted(more - missing)}"
    return f"{found} instead of {expected}"


def crash_everywhere(
    fresh: Callable[[], AbstractContextManager[Here]],
    act: Callable[[Here], object],
    look: Callable[[Here], object],
    *,
    at_least: int = 1,
    doors: tuple[Door, ...] = (oracle,),
    only: Callable[[list[str]], Iterable[int]] = every,
    repeated: tuple[str, ...] = (),
) -> list[Trial]:
    """Every call, both moments. `at_least` guards against work that no longer does anything."""

    def enough(calls: list[str]) -> Iterable[int]:
        assert len(calls) >= at_least, calls
        return only(calls)

    rows = list(trials(Work("", fresh, act, look, doors=doors, only=enough, repeated=repeated), CRASH))
    assert [row for row in rows if not row.is_fine] == []
    return rows


def table(rows: Iterable[Trial]) -> Iterator[str]:
    """One line for each call of each piece of work, as soon as it is known; one column for each way."""
    head: list[str] = []
    last: tuple[str, int] | None = None
    cells: dict[str, str] = {}
    for row in rows:
        if (row.work, row.number) != last:
            if last is not None:
                yield from _line(head, cells)
            last, cells = (row.work, row.number), {"asset": row.work, "call": row.call}
        cells[row.way] = row.outcome
    if last is not None:
        yield from _line(head, cells)


def listed(rows: Iterable[Trial]) -> Iterator[str]:
    """One line for each trial, where each call has another way."""
    yield "| asset | call | what happened | outcome |"
    yield "| --- | --- | --- | --- |"
    yield from (f"| {row.work} | {row.call} | {row.way} | {row.outcome} |" for row in rows)


def _line(head: list[str], cells: dict[str, str]) -> Iterator[str]:
    if list(cells) != head:
        head[:] = cells
        yield f"\n| {' | '.join(head)} |"
        yield f"| {' | '.join('---' for _ in head)} |"
    yield f"| {' | '.join(cells.values())} |"
