"""Facts of the group images: a file by its digest, an image of Oracle's own, an imported image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ocifree_pipeline.deployment.image_rollout import Firmware
from ocifree_pipeline.record.outcome import Facts

Architecture = Literal["amd64", "arm64"]


class ImageFacts(Facts):
    """images/<name>, when it is a file here. `source` is the address that it came from."""

    path: str
    sha256: str
    size: int
    virtual_size: int
    format: Literal["qcow2"] = "qcow2"
    architecture: Architecture
    firmware: Firmware
    source: str


class PlatformImageFacts(Facts):
    """images/<name>, when it is one of Oracle's own: nothing is fetched, and nothing of ours is stored."""

    ocid: str
    name: str
    shape: str
    firmware: str


class CustomImageFacts(Facts):
    """oci/custom_image/<name>. `sha256` is the digest of the disk image that it was imported from."""

    ocid: str
    sha256: str
    firmware: str
    shapes: tuple[str, ...]


def folder_of_images(environ: Mapping[str, str] = os.environ) -> Path:
    """Where disk images are kept on this computer: beside the history, so that one folder holds all of a deployment."""
    return Path(environ["DAGSTER_HOME"]).resolve() / "images"


def architecture_of(name: str) -> Architecture:
    """Of the machines that the image is for. The Micro is x86_64, everything else is Ampere."""
    return "amd64" if name.endswith("amd64") else "arm64"
