"""Talos images from the Talos Image Factory: what to ask for, under which name, and what came.

The factory names a composition (schematic) by the SHA-256 of its YAML in the factory's own spelling. So the name is
computed here, without asking, and compared with the one that the factory answers when it is told the composition.

The factory publishes no checksums. What came the first time is remembered beside the image, like the host key of a
machine: another image under the same name is refused later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ocifree_pipeline.deployment.errors import NotVerified, Refused, Throttled, Transient
from ocifree_pipeline.systems.images.download import Accept, Fetched, digest_of, fetch
from ocifree_pipeline.systems.images.progress import Tell

FACTORY = "https://factory.talos.dev"
SECONDS = (10, 60)

Platform = Literal["oracle", "nocloud"]

CONSOLE = "console=ttyAMA0"
"""The serial port of arm64. Without it, Oracle's console history and Proxmox's serial terminal stay empty."""

NEEDED_EXTENSIONS: dict[Platform, tuple[str, ...]] = {"oracle": (), "nocloud": ("siderolabs/qemu-guest-agent",)}
"""Proxmox learns a guest's addresses, and shuts it down properly, through the guest agent."""


@dataclass(frozen=True, slots=True)
class Schematic:
    """A composition: kernel arguments and system extensions."""

    kernel_args: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()

    def as_yaml(self) -> str:
        """The factory's spelling to the letter: four spaces, arguments before extensions, empty parts left out."""
        if not self.kernel_args and not self.extensions:
            return "customization: {}\n"
        lines = ["customization:"]
        if self.kernel_args:
            lines += ["    extraKernelArgs:", *(f"        - {one}" for one in self.kernel_args)]
        if self.extensions:
            lines += ["    systemExtensions:", "        officialExtensions:"]
            lines += [f"            - {one}" for one in self.extensions]
        return "\n".join(lines) + "\n"

    @property
    def id(self) -> str:
        return hashlib.sha256(self.as_yaml().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TalosImage:
    """One image of the factory: the composition, the release, and the platform it starts on. Always arm64."""

    schematic: Schematic
    version: str
    platform: Platform

    @property
    def url(self) -> str:
        return f"{FACTORY}/image/{self.schematic.id}/v{self.version}/{self.platform}-arm64.qcow2"

    @property
    def file_name(self) -> str:
        return f"talos-{self.version}-{self.platform}-arm64-{self.schematic.id[:16]}.qcow2"


def talos_image(platform: Platform, version: str, extensions: Sequence[str]) -> TalosImage:
    """What the platform needs and what was declared; the order of the declaration makes no other image."""
    chosen = tuple(sorted({*NEEDED_EXTENSIONS[platform], *extensions}))
    return TalosImage(Schematic((CONSOLE,), chosen), version, platform)


def fetch_talos(image: TalosImage, folder: Path, *, most_bytes: int, tell: Tell, accept: Accept) -> Fetched:
    """The image in `folder`. The factory is asked only if it is not there, or is not what came the first time."""
    target = folder / image.file_name
    memory = folder / f"{image.file_name}.sha256"
    remembered = memory.read_text("ascii").strip() if memory.exists() else None
    if not (target.exists() and remembered == digest_of(target)):
        target.unlink(missing_ok=True)
        register(image.schematic)
    try:
        fetched = fetch(image.url, target, sha256=remembered, most_bytes=most_bytes, tell=tell, accept=accept)
    except NotVerified as error:
        if remembered is None:
            raise
        raise NotVerified(
            f"the factory gives another image than the first time for Talos {image.version} ({image.platform})",
            why=error.why,
            fix=f"the factory may have built it anew; if you trust what it gives now: rm {memory}",
        ) from error
    if remembered is None:
        memory.write_text(fetched.sha256 + "\n", "ascii")
    return fetched


def register(schematic: Schematic) -> None:
    """Tell the factory the composition. It knows it by the same name as we do, or nothing is fetched."""
    import requests

    try:
        reply = requests.post(f"{FACTORY}/schematics", data=schematic.as_yaml().encode(), timeout=SECONDS)
    except requests.exceptions.RequestException as error:
        raise Transient(
            "the Talos Image Factory does not answer",
            why=(str(error).splitlines() or [type(error).__name__])[0][:200],
            fix="try again; behind a proxy, HTTPS_PROXY has to be set",
        ) from error
    said = f"the Talos Image Factory answered {reply.status_code} {reply.reason}: {reply.text.strip()[:200]}"
    if reply.status_code == 429:
        raise Throttled(said, why="it asks for patience", fix="try again in some minutes")
    if reply.status_code >= 500:
        raise Transient(said, why="a fault on its side", fix="try again in some minutes")
    if not reply.ok:
        raise Refused(
            said, why="it does not accept the composition", fix="correct `images.talos.build.extensions` as it says"
        )
    try:
        named = reply.json()["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotVerified(
            "the Talos Image Factory answered without a name for the composition",
            why=reply.text.strip()[:200],
            fix="is something else answering in its place? look at HTTPS_PROXY",
        ) from error
    if named != schematic.id:
        raise NotVerified(
            "the Talos Image Factory names the composition otherwise than computed here",
            why=f"it says {named}, and {schematic.id} was expected; it may have taken in something else than was asked",
            fix="this is a fault of ocifree or of the factory; please report both names",
        )
