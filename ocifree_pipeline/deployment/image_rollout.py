"""From the images that Oracle has to the one that is wanted. Pure: what is there in, steps and their lines out.

A changed disk image becomes a new custom image beside the old one. Machines are never touched: who still runs from the
old one is named, and the old one stays for as long as somebody does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

USABLE = frozenset({"AVAILABLE"})
ARRIVING = frozenset({"PROVISIONING", "IMPORTING"})

Firmware = Literal["UEFI_64", "BIOS"]


@dataclass(frozen=True, slots=True)
class WantedImage:
    """A disk image by its digest, and what Oracle has to know to start a machine from it."""

    name: str
    sha256: str
    firmware: Firmware
    shape: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A custom image that carries our tags. `used_by` names the machines whose boot volume came from it."""

    id: str
    sha256: str
    state: str
    created: str
    firmware: str = ""
    shapes: frozenset[str] = frozenset()
    used_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """What has to be done. `current` is the image with the wanted digest, if there is one already."""

    wanted: WantedImage
    current: Imported | None
    older: tuple[Imported, ...]

    @property
    def imports(self) -> bool:
        return self.current is None

    @property
    def removes(self) -> tuple[Imported, ...]:
        """Nobody runs from these any more."""
        return tuple(one for one in self.older if not one.used_by and one.state in USABLE)

    @property
    def offers(self) -> tuple[str, ...]:
        """Machines that run from another image than the wanted one."""
        return tuple(machine for one in self.older for machine in one.used_by)

    def lines(self) -> tuple[str, ...]:
        """The plan in words; nothing if there is nothing to do."""
        wanted, current = self.wanted, self.current
        digest = wanted.sha256[:12]
        lines = []
        if current is None:
            lines.append(f"import {wanted.name} ({digest}) with {wanted.firmware}, compatible with {wanted.shape}")
        else:
            if current.state in ARRIVING:
                lines.append(f"wait for the import of {wanted.name} ({digest}) that is under way")
            elif current.firmware != wanted.firmware:
                lines.append(f"give {wanted.name} the firmware {wanted.firmware}; it has {current.firmware or 'none'}")
            if wanted.shape not in current.shapes:
                lines.append(f"make {wanted.name} compatible with {wanted.shape}")
        lines += [f"remove the older {wanted.name} ({one.sha256[:12]}): nothing runs from it" for one in self.removes]
        return tuple(lines)


def rollout(wanted: WantedImage, found: Iterable[Imported]) -> Rollout:
    """The oldest usable image of the wanted digest is taken up; what a lost reply made twice counts as older."""
    alive = sorted((one for one in found if one.state in USABLE | ARRIVING), key=lambda one: (one.created, one.id))
    same = [one for one in alive if one.sha256 == wanted.sha256]
    current = next((one for one in same if one.state in USABLE), same[0] if same else None)
    return Rollout(wanted, current, tuple(one for one in alive if one is not current))
