from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.systems.packer.building import Built, build_image
from ocifree_pipeline.systems.packer.host import Host, find_host
from ocifree_pipeline.systems.packer.probe import Answer
from ocifree_pipeline.systems.packer.template import Build
from ocifree_pipeline_tests.systems.images import disks

PROGRAMS = ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-img", "xorriso")


def small_disk(loader: str = "BOOTX64.EFI") -> bytes:
    """An image that starts machines of one architecture."""
    esp = disks.fat(16, {"BOOT": [loader]})
    return disks.of_disk(disks.gpt([(disks.ESP, "EFI", 64, esp)], 64 + len(esp) // 512 + 64), packed=True)


SMALL_DISK = small_disk()
WELL = (Answer("kinds of login that are offered", "publickey", True),)


def well(*given: Any, **more: Any) -> tuple[Answer, ...]:
    """What a machine from a good image answers."""
    return WELL


def install(folder: Path) -> None:
    """Programs that play packer and QEMU, and something where the firmware is looked for."""
    folder.mkdir(exist_ok=True)
    source = Path(__file__).with_name("fake_packer.py").read_text("utf-8")
    (folder / "packer").write_text(f"#!{sys.executable} -IS\n{source}", "utf-8")
    for name in PROGRAMS:
        (folder / name).write_text(f"#!{sys.executable} -IS\nimport time\ntime.sleep(600)\n", "utf-8")
    for name in ("packer", *PROGRAMS):
        (folder / name).chmod(0o755)
    for name in ("code.fd", "vars.fd"):
        (folder / name).write_bytes(b"\0")


@dataclass
class Bench:
    """A computer with programs that play Packer and QEMU, and what they were asked."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        install(self.bin)
        self.images = self.folder / "images"
        self.source = self.folder / "debian.qcow2"
        self.source.write_bytes(SMALL_DISK)
        self.environ = {
            "PATH": f"{self.bin}:{os.defpath}",
            "HOME": str(self.folder),
            "OCIFREE_FIRMWARE_CODE": str(self.bin / "code.fd"),
            "OCIFREE_FIRMWARE_VARS": str(self.bin / "vars.fd"),
        }

    def play(self, **scenario: Any) -> None:
        (self.bin / "scenario.json").write_text(json.dumps(scenario), "utf-8")

    def host(self) -> Host:
        return find_host("amd64", self.environ, machine=lambda: ("Linux", "riscv64"))

    def wanted(self, **changes: Any) -> Build:
        given: dict[str, Any] = {
            "image": "base_hardened_amd64",
            "template": "base-hardened",
            "architecture": "amd64",
            "debian": 13,
            "source": self.source,
            "checksum": f"sha256:{hashlib.sha256(self.source.read_bytes()).hexdigest()}",
        }
        return Build(**(given | changes))

    def build(self, wanted: Build | None = None, **changes: Any) -> Built:
        given: dict[str, Any] = {
            "most_bytes": 10_000_000_000,
            "say": self.said.append,
            "environ": self.environ,
            "free_bytes": lambda folder: 10**12,
            "grace_seconds": 5,
            "ask": well,
        }
        return build_image(wanted or self.wanted(), self.images, self.host, **(given | changes))

    def notes(self) -> list[dict[str, Any]]:
        path = self.bin / "calls.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def commands(self) -> list[str]:
        return [one["argv"][0] for one in self.notes() if "argv" in one]

    def left(self) -> set[str]:
        """What lies in the folder of images, but for locks."""
        return {path.name for path in self.images.iterdir() if path.suffix != ".lock"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
