"""From an address in the sandbox to a socket on loopback."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ocifree_pipeline.sandbox.machines import backend, translation
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reached:
    """``address`` is None when nothing answers there; ``reason`` says why."""

    computer: str
    address: tuple[str, int] | None
    reason: str = ""


@dataclass(slots=True)
class Door:
    """One port of one boot of one machine."""

    computer: str
    boots: int
    socket: socket.socket
    opening: asyncio.Task[backend.Listener]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        if self.opening.done() and not self.opening.cancelled() and self.opening.exception() is None:
            self.opening.result().close()
        else:
            self.opening.cancel()
        self.socket.close()


@dataclass(slots=True)
class Doors:
    open: dict[tuple[str, int], Door] = field(default_factory=dict)
    closing: list[Door] = field(default_factory=list)


_DOORS: WeakKeyDictionary[World, Doors] = WeakKeyDictionary()
"""Sockets cannot be part of a world's state; they are found again by the world they belong to."""


def _instances(world: World) -> Iterator[Computer]:
    from ocifree_pipeline.sandbox.machines.machine import everyone

    return everyone(world)


def _instance_at(world: World, ip: str) -> Computer | None:
    from ocifree_pipeline.sandbox.machines.machine import locate

    return locate(world, ip)


SOURCES: list[Callable[[World], Iterator[Computer]]] = [_instances]
"""All computers of a world, one entry a kind."""

LOCATORS: list[Callable[[World, str], Computer | None]] = [_instance_at]
"""The computer that owns an address, one entry a kind; the first that knows it is right."""


def everyone(world: World) -> Iterator[Computer]:
    for source in SOURCES:
        yield from source(world)


def of_key(world: World, key: str) -> Computer | None:
    return next((one for one in everyone(world) if one.key == key), None)


def at(world: World, ip: str) -> Computer | None:
    """The computer that owns ``ip``."""
    for locate in LOCATORS:
        if (found := locate(world, ip)) is not None:
            return found
    return None


def find(world: World, ip: str, port: int) -> Reached | None:
    """The machine that owns ``ip``, and where its ``port`` really listens; None when nobody owns that address.

    Opens the port if need be, so there must be a running event loop.
    """
    world.settle()
    machine = at(world, ip)
    if machine is None:
        return None
    if machine.phase != "up":
        return Reached(machine.key, None, machine.state["reason"])
    guest = translation.handed_on(machine, port)
    if guest is not None:
        return find(world, guest, port) or Reached(machine.key, None, f"it is handed on to {guest}, where nobody is")
    serve = backend.named(machine.state["backend"]).ports(machine).get(port)
    if serve is None:
        return Reached(machine.key, None, f"no service of the guest listens on port {port}")
    return Reached(machine.key, _open(machine, port, serve).address)


def address_of(world: World, ip: str, port: int) -> tuple[str, int] | None:
    """Where to connect for ``ip:port``; None when nobody owns the address or nothing answers."""
    reached = find(world, ip, port)
    return reached.address if reached is not None else None


def cut(world: World, key: str) -> None:
    """Close what a machine has open: it has lost its power."""
    doors = _doors(world)
    for one in [one for one in doors.open if one[0] == key]:
        door = doors.open.pop(one)
        door.close()
        doors.closing.append(door)


async def close(world: World) -> None:
    """Close everything that machines of this world have open, and wait for it."""
    doors = _doors(world)
    for key in {door.computer for door in doors.open.values()}:
        cut(world, key)
    closing, doors.closing = doors.closing, []
    await asyncio.gather(*(_closed(door) for door in closing))


async def _closed(door: Door) -> None:
    try:
        listener = await door.opening
    except asyncio.CancelledError:
        return
    await listener.wait_closed()


def _doors(world: World) -> Doors:
    return _DOORS.setdefault(world, Doors())


def _open(machine: Computer, port: int, serve: backend.Serve) -> Door:
    """The door of a port. The socket listens at once; who connects waits until the guest's server takes it over."""
    doors, key = _doors(machine.world), (machine.key, port)
    door = doors.open.get(key)
    if door is not None and (door.boots != machine.boots or _failed(door)):
        cut(machine.world, machine.key)
        door = None
    if door is None:
        listening = socket.create_server((LOOPBACK, 0), backlog=128)
        listening.setblocking(False)
        opening = asyncio.get_running_loop().create_task(_serve(machine, listening, serve))
        door = doors.open[key] = Door(machine.key, machine.boots, listening, opening)
    return door


async def _serve(machine: Computer, listening: socket.socket, serve: backend.Serve) -> backend.Listener:
    return await serve(machine, listening)


def _failed(door: Door) -> bool:
    if door.opening.done() and (door.opening.cancelled() or door.opening.exception() is not None):
        logger.error("a port of machine %s could not be opened: %r", door.computer, door.opening)
        return True
    return False
