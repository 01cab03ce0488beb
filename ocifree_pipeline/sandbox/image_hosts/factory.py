"""The Talos Image Factory: compositions are posted and named by the hash of their YAML; images follow from the name.

Only images of the platforms and forms that are listed here are made; the real factory has more.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any

import yaml

from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.door.http import Request
from ocifree_pipeline.sandbox.image_hosts.answers import Answer, file, refusal, told
from ocifree_pipeline.sandbox.world import World

HOST = "factory.talos.dev"
SERVICE = "imagefactory"
IMAGE = re.compile(r"/image/(?P<schematic>[0-9a-f]{64})/v?(?P<version>1\.\d+\.\d+)/(?P<name>[a-z0-9.-]+)")
NAME = re.compile(r"(?P<platform>oracle|nocloud)-(?P<architecture>amd64|arm64)\.qcow2")
EXTENSION = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
KNOWN = ("embeddedMachineConfiguration", "extraKernelArgs", "meta", "systemExtensions", "secureboot")
VANILLA: dict[str, Any] = {"customization": {}}


def answer(world: World, request: Request, body: bytes) -> Answer:
    if request.path == "/schematics":
        return _register(world, body) if request.method == "POST" else refusal(405, "only POST")
    return _image(world, request)


def canonical(schematic: dict[str, Any]) -> str:
    """The YAML that is hashed: four spaces deep, the parts in the factory's order, empty ones left out."""
    parts = schematic.get("customization") or {}
    ordered = {name: parts[name] for name in KNOWN if parts.get(name)}
    return yaml.dump({"customization": ordered}, Dumper=_Indented, indent=4, sort_keys=False, default_flow_style=False)


class _Indented(yaml.SafeDumper):
    """Lists stand deeper than the key that they belong to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def identity(schematic: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(schematic).encode()).hexdigest()


def _register(world: World, body: bytes) -> Answer:
    try:
        schematic = yaml.safe_load(body) or {}
        wrong = _problem(schematic)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        wrong = f"yaml: {str(error).splitlines()[0]}"
    if wrong:
        return refusal(400, wrong)
    name = identity(schematic)
    known = world.facts.setdefault("schematics", {})
    known[name] = canonical(schematic)
    return told(201, {"id": name}, mutating=True)


def _problem(schematic: Any) -> str:
    if not isinstance(schematic, dict) or set(schematic) - {"customization"}:
        return "yaml: unmarshal errors: only the field customization is known"
    parts = schematic.get("customization") or {}
    if not isinstance(parts, dict) or set(parts) - set(KNOWN):
        return f"yaml: unmarshal errors: customization knows {', '.join(KNOWN)}"
    extensions = parts.get("systemExtensions") or {}
    for one in extensions.get("officialExtensions") or ():
        if not EXTENSION.fullmatch(str(one)):
            return f"official extension {one!r} is not available"
    return ""


def _image(world: World, request: Request) -> Answer:
    match = IMAGE.fullmatch(request.path)
    name = NAME.fullmatch(match["name"]) if match else None
    if match is None or name is None:
        return refusal(404, "the sandbox makes oracle and nocloud images as qcow2 only")
    known = {identity(VANILLA)} | set(world.facts.get("schematics", {}))
    if match["schematic"] not in known:
        return refusal(404, f"schematic {match['schematic']} not found")
    return file(request, _disk(match["schematic"], match["version"], name["platform"], name["architecture"]))


@lru_cache(maxsize=8)
def _disk(schematic: str, version: str, platform: str, architecture: str) -> bytes:
    identity_of_disk = f"talos {version} {platform} {architecture} {schematic}"
    return make_qcow2(
        (ARCHITECTURES[architecture],),
        boot_code=architecture == "amd64",
        label="META",
        virtual_gb=2,
        identity=identity_of_disk,
    )
