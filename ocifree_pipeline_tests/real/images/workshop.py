"""Packer with its plugin, QEMU and firmware, as this machine has them; a test is skipped where one is missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.systems.packer.building import Built, build_image
from ocifree_pipeline.systems.packer.host import Architecture, Host, find_host
from ocifree_pipeline.systems.packer.template import Build
from ocifree_pipeline_tests.real.programs import program

PLUGIN = "github.com/hashicorp/qemu"


def plugins(folder: Path) -> str:
    """Where Packer finds its plugin: as the machine says, or installed from the program that `make tools` builds."""
    packer, named = program("packer"), os.environ.get("PACKER_PLUGIN_PATH")
    if named:
        return named
    built = program("packer-plugin-qemu")
    done = subprocess.run(
        [packer, "plugins", "install", "--path", built, PLUGIN],
        env={**os.environ, "PACKER_PLUGIN_PATH": str(folder), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(folder)


@dataclass
class Workshop:
    """A folder for images, and the real programs."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environ = {**os.environ, "PACKER_PLUGIN_PATH": plugins(self.folder / "plugins")}
        self.images = self.folder / "images"

    def host(self, architecture: Architecture = "amd64") -> Host:
        try:
            return find_host(architecture, self.environ)
        except PreconditionMissing as error:
            pytest.skip(f"{error.what}; {error.fix}")

    def wanted(self, source: Path, *, algorithm: str = "sha512", digest: str = "") -> Build:
        with source.open("rb") as file:
            found = digest or hashlib.file_digest(file, algorithm).hexdigest()
        return Build("base_hardened_amd64", "base-hardened", "amd64", 13, source, f"{algorithm}:{found}")

    def build(self, wanted: Build, **changes: Any) -> Built:
        host = self.host(wanted.architecture)
        given: dict[str, Any] = {"most_bytes": 10**10, "say": self.said.append, "environ": self.environ}
        return build_image(wanted, self.images, lambda: host, **(given | changes))

    def left(self) -> set[str]:
        """What lies among the images, but for locks."""
        return {path.name for path in self.images.iterdir() if path.suffix != ".lock"}

    def running(self) -> list[str]:
        """Programs that work in the folder."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = " ".join(process.info["cmdline"] or ())
            if str(self.images) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(words)
        return found
