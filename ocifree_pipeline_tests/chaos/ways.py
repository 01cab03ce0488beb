"""What may happen besides a death: the network is cut, the clock jumps, the disk is slow or full, the power fails.

Time is virtual throughout: a cut of two hours takes none, and a disk takes a minute for each fsync without one passing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import time_machine

from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing, Transient
from ocifree_pipeline.sandbox.door import server
from ocifree_pipeline.sandbox.door.proxy import Machine
from ocifree_pipeline.systems.oci.errors import ClockWrong
from ocifree_pipeline_tests.chaos.crash import CRASH, Killed, Way
from ocifree_pipeline_tests.chaos.disk import followed
from ocifree_pipeline_tests.chaos.doors import die
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
FSYNC_SECONDS = 60.0

Strike = Callable[[], object]


def sandbox_of(here: Any) -> RunningSandbox:
    found: RunningSandbox = here.sandbox
    return found


def home_of(here: Any) -> Path:
    """Where this computer keeps what must not be lost."""
    return Path(getattr(here, "folder", None) or os.environ["DAGSTER_HOME"])


# the network ----------------------------------------------------------------------------------------------------------


@contextmanager
def cut(here: Any, seconds: float, *, machines_only: bool = False) -> Iterator[Strike]:
    """From the strike on nobody is reached for so long: connections end, and new ones are refused."""
    sandbox = sandbox_of(here)
    until: list[datetime] = []
    keep, machine_at = server.Sandbox._keep, server.machine_at

    def is_cut() -> bool:
        return bool(until) and sandbox.sandbox.world.clock.now() < until[0]

    def keeping(self: server.Sandbox, work: Any, writer: asyncio.StreamWriter) -> asyncio.Task[None]:
        if self is sandbox.sandbox and is_cut() and not machines_only:
            work.close()
            writer.transport.abort()
            return asyncio.create_task(asyncio.sleep(0))
        return keep(self, work, writer)

    def finding(world: Any, address: str, port: int) -> Machine | None:
        found = machine_at(world, address, port)
        return Machine(None, "the network is cut") if found and is_cut() else found

    def strike() -> None:
        def now(world: Any) -> None:
            until.append(world.clock.now() + timedelta(seconds=seconds))
            for writer in sandbox.sandbox._connections.values():
                writer.transport.abort()

        sandbox.inside(now)

    with patch.object(server.Sandbox, "_keep", keeping), patch.object(server, "machine_at", finding):
        yield strike
    if until:
        sandbox.advance(seconds)


UNREACHED = (Transient, NotVerified)
"""A machine that has not answered for twenty minutes is no passing fault; its error says what looks again."""

PARTITION = tuple(
    Way(
        f"{name}, {moment} it",
        moment,
        partial(cut, seconds=seconds, machines_only=machines_only),
        UNREACHED,
        may_leave="consolehistory",
    )
    for name, seconds, machines_only in (
        ("cut off for 2 minutes", 2 * MINUTE, False),
        ("cut off for 2 hours", 2 * HOUR, False),
        ("its machines cut off for 2 hours", 2 * HOUR, True),
    )
    for moment in ("before", "after")
)


# the clock ------------------------------------------------------------------------------------------------------------


@contextmanager
def jump(here: Any, seconds: float) -> Iterator[Strike]:
    """This computer's clock is wrong from the strike on; Oracle's is not. Then somebody sets it."""
    sandbox, travels = sandbox_of(here), []

    def strike() -> None:
        travels.append(_travel(seconds))
        sandbox.inside(lambda world: setattr(world.clock, "skew_seconds", -seconds))

    try:
        yield strike
    finally:
        for travel in travels:
            travel.stop()
            sandbox.inside(lambda world: setattr(world.clock, "skew_seconds", 0.0))


@contextmanager
def clock_of_another_day(here: Any, seconds: float) -> Iterator[Strike]:
    """The process dies on a computer whose clock is far off, as Oracle's seems to be; a day later both are right."""
    travel = _travel(seconds)
    try:
        yield die
    finally:
        travel.stop()


def a_day_passes(here: Any) -> None:
    sandbox_of(here).advance(DAY + HOUR)


def _travel(seconds: float) -> time_machine.travel:
    travel = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)
    travel.start()
    return travel


CLOCK = (
    *(
        Way(f"{words}, {moment} it", moment, partial(jump, seconds=seconds), ends, may_leave="consolehistory")
        for words, seconds, ends in (
            ("clock 4 minutes ahead", 4 * MINUTE, ()),
            ("clock 4 minutes behind", -4 * MINUTE, ()),
            ("clock 2 hours ahead", 2 * HOUR, (ClockWrong,)),
            ("clock 2 hours behind", -2 * HOUR, (ClockWrong,)),
        )
        for moment in ("before", "after")
    ),
    *(
        Way(
            f"killed after it, clock then {words}",
            "after",
            partial(clock_of_another_day, seconds=seconds),
            (Killed,),
            later=a_day_passes,
        )
        for words, seconds in (("set back by 26 hours", 26 * HOUR), ("set on by 26 hours", -26 * HOUR))
    ),
)


# the disk -------------------------------------------------------------------------------------------------------------


@contextmanager
def slow_disk(here: Any) -> Iterator[Strike]:
    """Every fsync takes a minute."""
    really, clock = os.fsync, getattr(here, "clock", time)

    def fsync(handle: int) -> None:
        if threading.current_thread() is threading.main_thread():  # time is virtual there only
            clock.sleep(FSYNC_SECONDS)
        really(handle)

    with patch.object(os, "fsync", fsync):
        yield lambda: None


@contextmanager
def full_disk(here: Any) -> Iterator[Strike]:
    """From the strike on nothing more is taken, as file systems say that reserve room late."""
    really, full = os.fsync, []

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(handle)

    with patch.object(os, "fsync", fsync):
        yield lambda: full.append(True)


DISK = (
    Way("every fsync takes a minute", "before", slow_disk, once=True),
    Way("disk full, before it", "before", full_disk, (PreconditionMissing,)),
    Way("disk full, after it", "after", full_disk, (PreconditionMissing,)),
)


# the power ------------------------------------------------------------------------------------------------------------


@contextmanager
def power_cut(here: Any) -> Iterator[Strike]:
    """The process dies, and of what it wrote there is what fsync promised."""
    with followed(home_of(here)) as disk:
        yield die
        disk.lose_power()


POWER = (
    Way("power cut before it", "before", power_cut, (Killed,)),
    Way("power cut after it", "after", power_cut, (Killed,), from_the_start=True),
)

KINDS = {"crash": CRASH, "partition": PARTITION, "clock": CLOCK, "disk": DISK, "power": POWER}
