"""What disturbs and watches a world: its faults and its recorder. They are no part of its state, and found by it."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ocifree_pipeline.sandbox.faults import Faults, Rule
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline.sandbox.world import World


@dataclass(frozen=True, slots=True)
class Instruments:
    faults: Faults
    recorder: Recorder


_OF: WeakKeyDictionary[World, Instruments] = WeakKeyDictionary()


def attach(world: World, faults: Faults, recorder: Recorder) -> None:
    _OF[world] = Instruments(faults, recorder)


def of(world: World) -> Instruments:
    """A world that nobody attached anything to has no faults, and its records are lost."""
    found = _OF.get(world)
    if found is None:
        found = _OF[world] = Instruments(Faults(), Recorder(capacity=1000))
    return found


def strikes(world: World, service: str, operation: str) -> Rule | None:
    """The fault that strikes here, spent by asking."""
    return of(world).faults.draw(service, operation, "")


def note(
    world: World,
    *,
    host: str,
    method: str,
    path: str,
    service: str,
    operation: str,
    status: int,
    mutating: bool,
    fault: int = 0,
) -> None:
    """Record something that is no request to Oracle."""
    of(world).recorder.add(
        Entry(
            at=world.clock.stamp(),
            host=host,
            method=method,
            path=path,
            service=service,
            operation=operation,
            status=status,
            code="" if status < 400 else "Refused",
            request_id="",
            mutating=mutating,
            verified=True,
            fault=fault,
        )
    )
