"""What a guest can know of the computer it runs on, and what the sandbox keeps of it, whoever built that computer.

An Oracle instance is one (``machine.Machine``), a virtual machine of a Proxmox node another. Whoever adds a kind says
where all computers of that kind are (``reach.SOURCES``) and who answers at an address (``reach.LOCATORS``).
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ocifree_pipeline.sandbox.world import World

Phase = Literal["off", "booting", "up", "silent"]
Platform = Literal["oracle", "nocloud"]

CONSOLE_CHARACTERS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the firmware gets as far as an operating system. ``reason`` is empty when the guest starts."""

    reason: str = ""
    console: tuple[str, ...] = ()

    @property
    def starts(self) -> bool:
        return not self.reason


class Computer(Protocol):
    """A view that holds no state of its own: everything is in the world, so that it survives a snapshot."""

    @property
    def world(self) -> World: ...

    @property
    def key(self) -> str:
        """Its name among all computers of the world, the same for its whole life."""

    @property
    def state(self) -> dict[str, Any]:
        """Power and console, as ``new_state`` makes it."""

    @property
    def guest(self) -> dict[str, Any]:
        """What the guest has made of its disk."""

    @property
    def disk(self) -> dict[str, Any]:
        """What was on the disk when its image was imported (``disks.inspection.Contents`` and who made it)."""

    @property
    def phase(self) -> Phase: ...

    @property
    def boots(self) -> int: ...

    @property
    def architecture(self) -> str:
        """``aarch64`` or ``x86_64``."""

    @property
    def is_uefi(self) -> bool: ...

    @property
    def vcpus(self) -> int: ...

    @property
    def memory_gb(self) -> float: ...

    @property
    def hostname(self) -> str:
        """What its surroundings call it: DHCP, or the settings of the virtual machine."""

    @property
    def addresses(self) -> list[str]:
        """Those that the guest itself knows."""

    @property
    def platform(self) -> Platform: ...

    @property
    def ssh_keys(self) -> list[str]:
        """The public keys that its surroundings want to be let in."""

    def user_data(self) -> str | None:
        """What its surroundings hand to the first boot. ValueError says why it cannot be read."""

    def judge(self) -> Verdict:
        """Try to start the disk with the firmware and the processor there are."""

    def again(self) -> "Computer":
        """The same computer as it is now, for whoever kept this view for longer than one moment."""

    def print(self, *lines: str) -> None:
        """Write to the serial console; the oldest output is lost first."""


def new_state() -> dict[str, Any]:
    """A computer that nobody has switched on yet."""
    return {
        "phase": "off",
        "boots": 0,
        "reason": "it was never powered on",
        "console": "",
        "backend": "",
        "since": "",
    }


def print_to(state: dict[str, Any], lines: tuple[str, ...]) -> None:
    text = state["console"] + "".join(f"{line}\n" for line in lines)
    state["console"] = text[-CONSOLE_CHARACTERS:]
