"""What a file that should be a disk image really is, and whether a machine could start from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ocifree_pipeline.systems.images import fat, partitions, qcow2
from ocifree_pipeline.systems.images.disk import Disk, Unreadable, UnusableImage

Architecture = Literal["amd64", "arm64"]
Firmware = Literal["UEFI_64", "BIOS"]

LOADERS: dict[Architecture, str] = {"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}
"""The file in EFI/BOOT that a firmware starts when it remembers no other; no memory survives an import."""


@dataclass(frozen=True, slots=True)
class DiskImage:
    """`unreadable` says why the rest is not known; then nothing is said about loaders and file systems."""

    virtual_size: int
    file_size: int
    loaders: frozenset[str] = frozenset()
    starts_on_bios: bool = False
    partitions: tuple[str, ...] = ()
    file_systems: tuple[str, ...] = ()
    unreadable: str = ""

    def starts(self, architecture: Architecture) -> bool:
        return LOADERS[architecture] in self.loaders


@contextmanager
def opened(path: Path) -> Iterator[qcow2.Qcow2]:
    """The disk in the file, to be read. UnusableImage unless it is a qcow2 image that stands alone."""
    with path.open("rb") as file:
        _need_qcow2(path.name, file.read(4096))
        yield qcow2.Qcow2(file, qcow2.read_header(file, path.name), path.name)


def look_into(path: Path) -> DiskImage:
    """What is on the disk in the file; `opened` says what is refused."""
    size = path.stat().st_size
    with opened(path) as disk:
        try:
            return _seen(disk, size)
        except Unreadable as error:
            return DiskImage(disk.size, size, unreadable=str(error))


def firmware_for(image: DiskImage, architecture: Architecture, name: str) -> Firmware:
    """The firmware to ask Oracle for. UnusableImage if no machine of that architecture would start from it."""
    if image.unreadable or image.starts(architecture):
        return "UEFI_64"
    others = [one for one, loader in LOADERS.items() if loader in image.loaders]
    if architecture == "amd64" and image.starts_on_bios and not others:
        return "BIOS"
    raise UnusableImage(
        f"{name} does not start on {architecture}",
        why=f"it is made for {' and '.join(others)}"
        if others
        else f"no EFI system partition of it has the file EFI/BOOT/{LOADERS[architecture]}",
        fix=f"take the {architecture} image; one of your own gets the file by `grub-install --removable`",
    )


def _seen(disk: Disk, file_size: int) -> DiskImage:
    found = partitions.partitions_of(disk)
    loaders: set[str] = set()
    for one in found:
        if one.kind == partitions.ESP:
            loaders |= fat.files_in(disk, one.offset, "EFI", "BOOT")
    return DiskImage(
        virtual_size=disk.size,
        file_size=file_size,
        loaders=frozenset(loaders),
        starts_on_bios=partitions.starts_on_bios(disk),
        partitions=tuple(one.name for one in found),
        file_systems=tuple(partitions.file_system_of(disk, one) or "unknown" for one in found),
    )


_OTHERS = (
    (0, b"KDMV", "a VMDK image", "qemu-img convert -f vmdk -O qcow2 OLD NEW.qcow2"),
    (0, b"# Disk DescriptorFile", "the text part of a VMDK image", "qemu-img convert -f vmdk -O qcow2 OLD NEW.qcow2"),
    (0, b"conectix", "a VHD image", "qemu-img convert -f vpc -O qcow2 OLD NEW.qcow2"),
    (0, b"vhdxfile", "a VHDX image", "qemu-img convert -f vhdx -O qcow2 OLD NEW.qcow2"),
    (0, b"\xfd7zXZ\0", "packed with xz", "xz -d OLD.xz, then qemu-img convert -O qcow2 OLD NEW.qcow2"),
    (0, b"\x1f\x8b", "packed with gzip", "gunzip OLD.gz"),
    (0, b"\x28\xb5\x2f\xfd", "packed with zstd", "unzstd OLD.zst"),
    (257, b"ustar", "a tar archive", "unpack it and take the qcow2 inside"),
    (510, b"\x55\xaa", "a raw disk", "qemu-img convert -f raw -O qcow2 -c OLD NEW.qcow2"),
)


def _need_qcow2(name: str, head: bytes) -> None:
    if head.startswith(qcow2.MAGIC):
        return
    for at, mark, what, command in _OTHERS:
        if head[at : at + len(mark)] == mark:
            raise UnusableImage(f"{name} is {what}, not qcow2", why="images are uploaded as qcow2", fix=command)
    if head.lstrip()[:1] == b"<":
        raise UnusableImage(
            f"{name} is a web page, not a disk image",
            why="the server answered with HTML: a login, a notice, or the page about the image",
            fix="use the address of the file itself",
        )
    raise UnusableImage(
        f"{name} is no disk image of a known kind",
        why=f"it begins with {head[:8].hex(' ') or 'nothing at all'}",
        fix="use the address of a qcow2 file",
    )
