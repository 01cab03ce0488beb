"""The templates as they are shipped: where they lie, the variables they take, and the digest of all that decides."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.packer.host import Architecture, Host

Kind = Literal["image", "installer"]
Template = Literal["base-hardened", "proxmox-ampere"]
DISK_GB: dict[Template, int] = {"base-hardened": 6, "proxmox-ampere": 16}
MINUTES: dict[Template, int] = {"base-hardened": 15, "proxmox-ampere": 25}
"""What a build may take on hardware that runs the guest itself; emulated, it is only reported."""
ROOM_GB: dict[Template, int] = {"base-hardened": 8, "proxmox-ampere": 20}
"""What a build takes on this disk while it runs: the image, and once more while it is compacted."""

_HASHED = ("*.pkr.hcl", "scripts/*.sh", "installer/*.cfg")


@dataclass(frozen=True, slots=True)
class Build:
    """What is built from what; nothing in it depends on the computer. `checksum` is `sha256:HEX` or `sha512:HEX`.

    `kind` says whether the source is the image of a disk or the disc of Debian's installer.
    """

    image: str
    template: Template
    architecture: Architecture
    debian: int
    source: Path
    checksum: str
    kind: Kind = "image"

    def chosen(self) -> dict[str, str | int]:
        """The variables that make a different image when they differ."""
        return {
            "architecture": self.architecture,
            "debian": self.debian,
            "source_kind": self.kind,
            "source_checksum": self.checksum,
            "disk_gb": DISK_GB[self.template],
        }

    def key(self, folder: Path) -> str:
        """One name for template, scripts, variables and source together."""
        whole = {"template": self.template, "variables": self.chosen(), "files": digest_of_template(folder)}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def template_folder() -> Path:
    """The shipped templates: inside the package when installed, beside it in a checkout."""
    package = Path(str(files("ocifree_pipeline")))
    for candidate in (package / "packer", package.parent / "packer"):
        if (candidate / "plugins.pkr.hcl").exists():
            return candidate
    raise PreconditionMissing(
        "the Packer templates are missing from this installation",
        why="an image with `build` is made from them",
        fix="install ocifree again",
    )


def digest_of_template(folder: Path) -> str:
    """Of every file that goes into an image, with its name. The README does not."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _HASHED for path in folder.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def variables_of(build: Build, host: Host, work: Path, key_file: Path, public_key: str) -> dict[str, str | int]:
    """Everything that the templates take and have no default for, and how this computer builds."""
    return {
        **build.chosen(),
        "source_url": str(build.source),
        "accelerator": host.accelerator,
        "qemu_binary": host.qemu,
        "firmware_code": host.firmware_code,
        "firmware_vars": host.firmware_vars,
        "cpus": host.cpus,
        "work_directory": str(work),
        "ssh_private_key_file": str(key_file),
        "ssh_public_key": public_key,
    }
