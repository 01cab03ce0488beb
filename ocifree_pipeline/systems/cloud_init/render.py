"""Render #cloud-config for a machine. It holds no secret: user data can never be taken back from an instance.

A secret that the first boot needs (the key for the tailnet) lies in a metadata entry of its own, which can be removed
once the machine has read it; JOIN_ENTRY names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import yaml

from ocifree_pipeline.deployment.errors import NotVerified, Refused

if TYPE_CHECKING:
    import jinja2

JOIN_ENTRY = "ocifree_tailnet_key"
MAX_METADATA_BYTES = 32_000
_HEADER = "#cloud-config\n"


@dataclass(frozen=True, slots=True)
class FirstBoot:
    """All that the template may know."""

    hostname: str
    user: str
    ssh_public_keys: tuple[str, ...]
    inside: tuple[IPv4Network, ...]
    public_tcp_ports: tuple[int, ...] = (22,)
    grow_root: bool = True
    tailnet_tags: tuple[str, ...] = ()

    @property
    def joins_tailnet(self) -> bool:
        return bool(self.tailnet_tags)


def render(boot: FirstBoot) -> str:
    """The user data, proved to be what was meant by reading it back."""
    text = _template("machine.yaml.j2").render(
        boot=boot,
        nftables=_template("nftables.conf.j2").render(boot=boot),
        join=_template("join-tailnet.sh.j2").render(boot=boot, entry=JOIN_ENTRY),
    )
    _read_back(text, boot)
    size = len(text.encode())
    if size * 4 / 3 > MAX_METADATA_BYTES - 4096:
        raise Refused(
            f"the first boot of {boot.hostname} needs {size} bytes",
            why=f"Oracle takes {MAX_METADATA_BYTES} bytes of metadata for an instance, and base64 adds a third",
            fix="declare fewer or shorter access.ssh_public_keys",
        )
    return text


@cache
def _template(name: str) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ocifree_pipeline.systems.cloud_init"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML and shell, never HTML; every value passes through `yaml`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = _quoted
    return environment.get_template(name)


def _quoted(value: str | tuple[str, ...]) -> str:
    """On one line and in quotes, so that no value can break out of its place."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_style='"', default_flow_style=True, width=MAX_METADATA_BYTES).strip()


def _read_back(text: str, boot: FirstBoot) -> None:
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _broken(boot, str(error).splitlines()[0]) from error
    if not text.startswith(_HEADER) or not isinstance(found, dict):
        raise _broken(boot, "it is no cloud-config")
    user = found["users"][0]
    meant = (boot.hostname, boot.user, list(boot.ssh_public_keys), False, True)
    if (
        found["hostname"],
        user["name"],
        user["ssh_authorized_keys"],
        found["ssh_pwauth"],
        user["lock_passwd"],
    ) != meant:
        raise _broken(boot, "reading it back gives other values than were put in")


def _broken(boot: FirstBoot, why: str) -> NotVerified:
    return NotVerified(
        f"the cloud-config of {boot.hostname} is not usable",
        why=why,
        fix="this is a fault of ocifree; please report it",
    )
