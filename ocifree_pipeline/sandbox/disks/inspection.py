"""What an import learns about an image file. The result is plain JSON, for the file may be deleted afterwards."""

import json
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ocifree_pipeline.sandbox.disks import partitions
from ocifree_pipeline.sandbox.disks.blocks import Blocks, BrokenImage
from ocifree_pipeline.sandbox.disks.qcow2 import Qcow2
from ocifree_pipeline.sandbox.disks.vmdk import Vmdk

LOADERS = {"BOOTAA64.EFI": "aarch64", "BOOTX64.EFI": "x86_64"}
METADATA = "image_metadata.json"
READERS: dict[str, type[Qcow2] | type[Vmdk]] = {"QCOW2": Qcow2, "VMDK": Vmdk}


@dataclass(frozen=True, slots=True)
class Contents:
    """``broken`` says why nothing can boot; ``opaque`` why nobody could look inside (then it may boot).

    ``loaders`` are the architectures that have a UEFI fallback loader. ``launch_options`` come from the metadata of
    an ``.oci`` archive.
    """

    format: str
    size_bytes: int = 0
    broken: str = ""
    opaque: str = ""
    loaders: tuple[str, ...] = ()
    boot_code: bool = False
    labels: tuple[str, ...] = ()
    launch_options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return facts


def inspect(path: Path, kind: str) -> Contents:
    """Look into a file that is said to be a ``QCOW2`` or a ``VMDK``, or an ``.oci`` archive that holds one."""
    with path.open("rb") as file:
        try:
            base, options = _unwrap(path, file)
            disk: Blocks = READERS[kind](file, base)
            return _contents(disk, kind, options)
        except BrokenImage as error:
            return Contents(kind, broken=str(error))


def _contents(disk: Blocks, kind: str, options: dict[str, Any]) -> Contents:
    try:
        names = partitions.fallback_loaders(disk)
        return Contents(
            kind,
            disk.size,
            loaders=tuple(sorted(LOADERS[name] for name in names if name in LOADERS)),
            boot_code=partitions.has_boot_code(disk),
            labels=tuple(one.label for one in partitions.partitions(disk)),
            launch_options=options,
        )
    except NotImplementedError as error:
        return Contents(kind, disk.size, opaque=str(error), launch_options=options)


def _unwrap(path: Path, file: BinaryIO) -> tuple[int, dict[str, Any]]:
    """Where the disk begins in the file, and the launch options that come with it."""
    file.seek(257)
    if file.read(5) != b"ustar":
        return 0, {}
    base: int | None = None
    options: dict[str, Any] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if member.name.endswith(METADATA) and content is not None:
                    options = dict(json.load(content).get("externalLaunchOptions") or {})
                elif member.isfile() and base is None:
                    base = member.offset_data
    except (tarfile.TarError, ValueError, AttributeError) as error:
        raise BrokenImage(f"the archive cannot be read: {error}") from error
    if base is None:
        raise BrokenImage("the archive holds no disk")
    return base, options
