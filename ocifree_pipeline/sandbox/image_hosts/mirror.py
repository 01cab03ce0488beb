"""A mirror of images that somebody built already, so that a deployment can be tried without building any.

The images are small and hold a loader and no system; the sandbox's machines bring their system along.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.door.http import Request
from ocifree_pipeline.sandbox.image_hosts.answers import Answer, file, refusal
from ocifree_pipeline.sandbox.world import World

HOST = "images.ocifree.example"
SERVICE = "imagemirror"


@dataclass(frozen=True, slots=True)
class Offered:
    """An image on the mirror, as a declaration would name it."""

    url: str
    sha256: str


_MADE_FOR: Mapping[str, tuple[str, str]] = {
    "base_hardened_amd64": ("x86_64", "debian-root"),
    "base_hardened_arm64": ("aarch64", "debian-root"),
    "proxmox_ampere": ("aarch64", "proxmox-root"),
}


def offered() -> dict[str, Offered]:
    """What a declaration writes under `prebuilt` for each image. The same in every world."""
    return {
        name: Offered(f"https://{HOST}{_path(name)}", hashlib.sha256(_disk(name)).hexdigest()) for name in _MADE_FOR
    }


def answer(_world: World, request: Request, _body: bytes) -> Answer:
    name = next((one for one in _MADE_FOR if _path(one) == request.path), None)
    return refusal(404, f"there is no {request.path} here") if name is None else file(request, _disk(name))


def _path(name: str) -> str:
    return f"/v1/{name}.qcow2"


@cache
def _disk(name: str) -> bytes:
    architecture, label = _MADE_FOR[name]
    return make_qcow2((architecture,), boot_code=architecture == "x86_64", label=label, identity=name)
