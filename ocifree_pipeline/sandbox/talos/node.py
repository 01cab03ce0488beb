"""One Talos node: a computer, what Talos has written on its disk, and the configuration that it follows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.clock import stamp
from ocifree_pipeline.sandbox.machines import reach
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.talos_configuration import Configuration, read
from ocifree_pipeline.sandbox.talos.settings import Settings, settings_of
from ocifree_pipeline.sandbox.world import World

BACKEND = "talos"
NEWEST = "v1.13.9"
"""What a disk holds before anything tells its version."""


@dataclass(frozen=True, slots=True)
class Node:
    """A view without state of its own."""

    computer: Computer

    @property
    def world(self) -> World:
        return self.computer.world

    @property
    def key(self) -> str:
        return self.computer.key

    @property
    def disk(self) -> dict[str, Any]:
        """What Talos has written: ``key``, ``configuration``, ``version``, ``etcd``, ``recovery``, ``images``."""
        found: dict[str, Any] = self.computer.guest.setdefault("talos", {})
        return found

    @property
    def text(self) -> str | None:
        return self.disk.get("configuration")

    @property
    def configuration(self) -> Configuration | None:
        """What lies on the disk; only what was found valid was put there."""
        return read(self.text) if self.text else None

    @property
    def settings(self) -> Settings | None:
        return settings_of(self.text) if self.text else None

    @property
    def version(self) -> str:
        return str(self.disk.get("version") or NEWEST)

    @property
    def hostname(self) -> str:
        configuration = self.configuration
        return (configuration.hostname if configuration is not None else None) or self.computer.hostname

    @property
    def address(self) -> str:
        return next(iter(self.computer.addresses), "127.0.0.1")

    @property
    def is_up(self) -> bool:
        return self.computer.phase == "up"

    @property
    def is_running(self) -> bool:
        """Up, and out of maintenance mode."""
        return self.is_up and self.disk.get("stage") == "running"

    def say(self, line: str) -> None:
        self.computer.print(f"[talos] {stamp(self.world.clock.now())} {line}")


def nodes(world: World) -> Iterator[Node]:
    """Every computer that has booted into Talos."""
    for computer in reach.everyone(world):
        if computer.state["backend"] == BACKEND:
            yield Node(computer)


def of_key(world: World, key: str) -> Node | None:
    computer = reach.of_key(world, key)
    return Node(computer) if computer is not None and computer.state["backend"] == BACKEND else None
