"""The seam between machines and the kinds of guests that run on them.

A backend is chosen by what is on the boot disk. It gets a ``Computer`` and says what happens after the firmware has
handed over, and which ports answer. To add one, append it to ``BACKENDS``; what none of them recognises is a plain
Linux.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, runtime_checkable

from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World


class Listener(Protocol):
    """An open port of a guest."""

    def close(self) -> None:
        """Stop listening and cut every connection."""

    async def wait_closed(self) -> None: ...


Serve = Callable[[Computer, socket.socket], Awaitable[Listener]]
"""Serves a guest's port on a loopback socket that listens already."""


class Backend(Protocol):
    name: str

    def recognises(self, machine: Computer) -> bool:
        """Whether the boot disk holds this kind of guest."""

    def start(self, machine: Computer) -> None:
        """The firmware has found the loader: write to the console, prepare what runs from the first moment on."""

    def come_up(self, machine: Computer) -> None:
        """The services listen from now on."""

    def ports(self, machine: Computer) -> Mapping[int, Serve]:
        """What listens while the machine is up."""


@runtime_checkable
class Mindful(Protocol):
    """A kind of guest that others depend on: it is told when one of its machines has lost its power."""

    def went_down(self, machine: Computer) -> None: ...


BACKENDS: list[Backend] = []


def choose(machine: Computer) -> Backend:
    return next(one for one in _all() if one.recognises(machine))


def named(name: str) -> Backend:
    return next(one for one in _all() if one.name == name)


def _all() -> list[Backend]:
    from ocifree_pipeline.sandbox.machines.linux import Linux
    from ocifree_pipeline.sandbox.machines.talos import Talos

    return [*BACKENDS, Talos(), Linux()]


async def until(world: World, condition: Callable[[], bool], *, every_seconds: float = 0.05) -> None:
    """Wait for the virtual clock to make something true; the world is settled while waiting."""
    world.settle()
    while not condition():
        await asyncio.sleep(every_seconds)
        world.settle()
