"""From an address in the sandbox to a socket on loopback."""

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ocifree_pipeline.sandbox.machines import backend
from ocifree_pipeline.sandbox.machines.machine import Machine, of_instance, owner_of
from ocifree_pipeline.sandbox.world import World

LOOPBACK = "127.0.0.1"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reached:
    """``address`` is None when nothing answers there; ``reason`` says why."""

    instance: str
    address: tuple[str, int] | None
    reason: str = ""


@dataclass(slots=True)
class Door:
    """One port of one boot of one machine."""

    instance: str
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


def find(world: World, ip: str, port: int) -> Reached | None:
    """The machine that owns ``ip``, and where its ``port`` really listens; None when nobody owns that address.

    Opens the port if need be, so there must be a running event loop.
    """
    world.settle()
    instance = owner_of(world, ip)
    if instance is None:
        return None
    machine = of_instance(world, instance)
    if machine.phase != "up":
        return Reached(instance.ocid, None, machine.state["reason"])
    serve = backend.named(machine.state["backend"]).ports(machine).get(port)
    if serve is None:
        return Reached(instance.ocid, None, f"no service of the guest listens on port {port}")
    return Reached(instance.ocid, _open(machine, port, serve).address)


def address_of(world: World, ip: str, port: int) -> tuple[str, int] | None:
    """Where to connect for ``ip:port``; None when nobody owns the address or nothing answers."""
    reached = find(world, ip, port)
    return reached.address if reached is not None else None


def cut(world: World, instance: str) -> None:
    """Close what a machine has open: it has lost its power."""
    doors = _doors(world)
    for key in [key for key in doors.open if key[0] == instance]:
        door = doors.open.pop(key)
        door.close()
        doors.closing.append(door)


async def close(world: World) -> None:
    """Close everything that machines of this world have open, and wait for it."""
    doors = _doors(world)
    for instance in {door.instance for door in doors.open.values()}:
        cut(world, instance)
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


def _open(machine: Machine, port: int, serve: backend.Serve) -> Door:
    """The door of a port. The socket listens at once; who connects waits until the guest's server takes it over."""
    doors, key = _doors(machine.world), (machine.instance.ocid, port)
    door = doors.open.get(key)
    if door is not None and (door.boots != machine.boots or _failed(door)):
        cut(machine.world, machine.instance.ocid)
        door = None
    if door is None:
        listening = socket.create_server((LOOPBACK, 0), backlog=128)
        listening.setblocking(False)
        opening = asyncio.get_running_loop().create_task(_serve(machine, listening, serve))
        door = doors.open[key] = Door(machine.instance.ocid, machine.boots, listening, opening)
    return door


async def _serve(machine: Machine, listening: socket.socket, serve: backend.Serve) -> backend.Listener:
    return await serve(machine, listening)


def _failed(door: Door) -> bool:
    if door.opening.done() and (door.opening.cancelled() or door.opening.exception() is not None):
        logger.error("a port of machine %s could not be opened: %r", door.instance, door.opening)
        return True
    return False
