"""What a container is made of, and what only root's own login may give to it."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, wrong
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, number, one_of, property_string, text, whole

DEVICES = ("/dev/net/tun", "/dev/kvm", "/dev/fuse", "/dev/dri/card0", "/dev/dri/renderD128")
CONFIG: dict[str, Parameter] = {
    "hostname": form("dns-name", longest=255),
    "description": text(longest=8192),
    "tags": text(pattern=r"[a-zA-Z0-9_+.\-;, ]*"),
    "cores": whole(1, 8192),
    "cpulimit": number(0, 8192),
    "cpuunits": whole(0, 500000),
    "memory": whole(16),
    "swap": whole(0),
    "rootfs": text(),
    "mp[n]": text(),
    "net[n]": text(),
    "dev[n]": text(),
    "nameserver": text(),
    "searchdomain": text(),
    "unprivileged": flag(),
    "features": text(),
    "onboot": flag(),
    "startup": text(),
    "protection": flag(),
    "arch": one_of("amd64", "i386", "arm64", "armhf"),
    "ostype": text(),
    "cmode": one_of("shell", "console", "tty"),
    "console": flag(),
    "tty": whole(0, 6),
    "timezone": text(),
    "template": flag(),
    "hookscript": text(),
    "lock": text(),
}


def is_setting(name: str) -> bool:
    return name in CONFIG or f"{name.rstrip('0123456789')}[n]" in CONFIG


def check_rights(caller: Caller, config: dict[str, Any]) -> None:
    for name, value in config.items():
        bare = name.rstrip("0123456789")
        try:
            pieces = property_string(str(value), "path") if bare in {"dev", "net", "features"} else {}
        except ValueError as error:
            raise wrong(**{name: str(error)}) from error
        if bare == "dev":
            if not caller.is_root:
                raise ApiError(
                    403, "Permission check failed (configuring device passthrough is only allowed for root@pam)"
                )
            if pieces.get("path") not in DEVICES:
                raise wrong(**{name: f"Device {pieces.get('path')} does not exist"})
        if name == "features" and not caller.is_root and set(pieces) - {"nesting"}:
            raise ApiError(
                403, "Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)"
            )
        if bare == "net" and "name" not in pieces:
            raise wrong(**{name: "invalid format - missing key in comma-separated list property: name\n"})


def has_tunnel(config: dict[str, Any]) -> bool:
    """Whether /dev/net/tun is there inside."""
    return any(
        property_string(str(value), "path").get("path") == "/dev/net/tun"
        for name, value in config.items()
        if name.rstrip("0123456789") == "dev"
    )
