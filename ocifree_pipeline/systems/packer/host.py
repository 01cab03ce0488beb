"""What this computer builds with: Packer, a QEMU with its firmware, and what runs the guest."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems import child

Architecture = Literal["amd64", "arm64"]
Accelerator = Literal["kvm", "hvf", "tcg"]

OLDEST = (1, 10)
VERSION_SECONDS = 60
TRIAL_SECONDS = 30
_QEMU: Mapping[Architecture, str] = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
_MACHINES: Mapping[str, Architecture] = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ISO_MAKERS = ("xorriso", "mkisofs", "genisoimage", "hdiutil", "oscdimg")
_PACKAGES: Mapping[Architecture, str] = {"amd64": "qemu-system-x86 ovmf", "arm64": "qemu-system-arm qemu-efi-aarch64"}
FIRMWARE: Mapping[Architecture, tuple[tuple[str, str], ...]] = {
    "amd64": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"),
        ("/usr/local/share/qemu/edk2-x86_64-code.fd", "/usr/local/share/qemu/edk2-i386-vars.fd"),
    ),
    "arm64": (
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ("/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"),
        ("/opt/homebrew/share/qemu/edk2-aarch64-code.fd", "/opt/homebrew/share/qemu/edk2-arm-vars.fd"),
        ("/usr/local/share/qemu/edk2-aarch64-code.fd", "/usr/local/share/qemu/edk2-arm-vars.fd"),
    ),
}
"""Code and template of the variables, as Debian, Fedora, Arch and Homebrew place them."""


def runs_with_kvm(qemu: str) -> bool:
    """Whether QEMU gets as far as a machine that waits to be let go. A KVM that may be opened need not work."""
    machine = "virt" if qemu.endswith("aarch64") else "q35"
    try:
        done = subprocess.run(  # noqa: S603
            [
                *(qemu, "-machine", f"{machine},accel=kvm", "-cpu", "host", "-nodefaults", "-display", "none"),
                *("-S", "-monitor", "stdio"),
            ],
            input=b"quit\n",
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@dataclass(frozen=True, slots=True)
class Host:
    """Everything that a build of one architecture needs of the computer."""

    packer: str
    version: str
    qemu: str
    qemu_img: str
    firmware_code: str
    firmware_vars: str
    accelerator: Accelerator
    cpus: int
    xorriso: str | None = None

    @property
    def is_slow(self) -> bool:
        return self.accelerator == "tcg"


def find_host(
    architecture: Architecture,
    environ: Mapping[str, str] = os.environ,
    *,
    machine: Callable[[], tuple[str, str]] = lambda: (platform.system(), platform.machine()),
    kvm: Path = Path("/dev/kvm"),
    firmware: Mapping[Architecture, tuple[tuple[str, str], ...]] = FIRMWARE,
    kvm_works: Callable[[str], bool] = runs_with_kvm,
) -> Host:
    """All of it, or PreconditionMissing that names everything that is missing at once."""
    packages = f"on Debian: apt install {_PACKAGES[architecture]} qemu-utils xorriso"
    qemu = shutil.which(_QEMU[architecture], path=environ.get("PATH"))
    qemu_img = shutil.which("qemu-img", path=environ.get("PATH"))
    xorriso = shutil.which("xorriso", path=environ.get("PATH"))
    pair = _firmware(environ, firmware[architecture])
    missing = [
        what
        for what, there in (
            (_QEMU[architecture], qemu),
            ("qemu-img", qemu_img),
            (f"the UEFI firmware for {architecture}", pair),
            ("xorriso", next(filter(None, (shutil.which(one, path=environ.get("PATH")) for one in _ISO_MAKERS)), None)),
        )
        if there is None
    ]
    packer, version = _packer(environ, missing, packages)
    if missing or qemu is None or qemu_img is None or pair is None:
        raise PreconditionMissing(
            f"this computer cannot build images for {architecture}: {', '.join(missing)} not found",
            why="Packer makes the image in a virtual machine that starts by UEFI",
            fix=f"{packages}; or declare `prebuilt: {{url, sha256}}`",
        )
    accelerator = _named_accelerator(environ)
    if accelerator is None:
        accelerator = _accelerator(architecture, machine(), kvm)
        if accelerator == "kvm" and not kvm_works(qemu):
            accelerator = "tcg"
    return Host(packer, version, qemu, qemu_img, *pair, accelerator, max(1, min(4, os.cpu_count() or 1)), xorriso)


def _packer(environ: Mapping[str, str], missing: list[str], packages: str) -> tuple[str, str]:
    named = environ.get("PACKER")
    path = shutil.which(named or "packer", path=environ.get("PATH"))
    fix = "install Packer 1.10 or newer (https://developer.hashicorp.com/packer/install), or name it in PACKER; "
    fix += "or declare `prebuilt: {url, sha256}`"
    if path is None:
        also = f"; {', '.join(missing)} not found either ({packages})" if missing else ""
        raise PreconditionMissing(
            f"{named} is not a program" if named else "packer is not installed",
            why=f"the declaration says that an image is built here{also}",
            fix=fix,
        )
    said = child.version_of(path, environ, VERSION_SECONDS)
    match = re.search(r"(?:Packer v)?(\d+)\.(\d+)\.(\d+)", said)
    if match is None:
        # Debian has another program of that name, in cracklib.
        raise PreconditionMissing(f"{path} is not Packer", why=f"it answers {said[:80]!r} to `version`", fix=fix)
    if (int(match[1]), int(match[2])) < OLDEST:
        raise PreconditionMissing(
            f"{path} is Packer {match[1]}.{match[2]}.{match[3]}", why="the templates need 1.10 or newer", fix=fix
        )
    return path, ".".join(match.groups())


def _firmware(environ: Mapping[str, str], places: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    named = environ.get("OCIFREE_FIRMWARE_CODE"), environ.get("OCIFREE_FIRMWARE_VARS")
    if named[0] and named[1]:
        absent = [one for one in named if one and not Path(one).is_file()]
        if absent:
            raise PreconditionMissing(
                f"{absent[0]} is not there",
                why="OCIFREE_FIRMWARE_CODE and OCIFREE_FIRMWARE_VARS name the firmware",
                fix="correct them, or unset both to have it looked for",
            )
        return named[0], named[1]
    return next((pair for pair in places if all(Path(one).is_file() for one in pair)), None)


def _named_accelerator(environ: Mapping[str, str]) -> Accelerator | None:
    named = environ.get("OCIFREE_ACCELERATOR", "")
    for known in get_args(Accelerator):
        if named == known:
            return known  # type: ignore[no-any-return]
    if named:
        raise PreconditionMissing(
            f"OCIFREE_ACCELERATOR is {named!r}",
            why="a guest is run by kvm or hvf, on hardware of its architecture, or by tcg, which emulates it",
            fix="name one of the three, or unset it to have it chosen",
        )
    return None


def _accelerator(architecture: Architecture, machine: tuple[str, str], kvm: Path) -> Accelerator:
    """Hardware runs only its own architecture; everything else is emulated."""
    system, processor = machine
    if _MACHINES.get(processor.lower()) != architecture:
        return "tcg"
    if system == "Darwin":
        return "hvf"
    return "kvm" if os.access(kvm, os.R_OK | os.W_OK) else "tcg"
