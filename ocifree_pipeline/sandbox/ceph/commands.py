"""The commands of Ceph and of block devices as programs of a guest."""

from ocifree_pipeline.sandbox.ceph.programs import PROGRAMS
from ocifree_pipeline.sandbox.machines.session import Command, Result, Steps, Who, Words, read_line

FOR_ROOT = {
    "ceph": "Error initializing cluster client: PermissionDeniedError('error calling conf_read_file')",
    "pveceph": "please run as root",
    "ceph-volume": "This command needs to be executed with sudo or as root",
    "sfdisk": "sfdisk: cannot open the device: Permission denied",
    "sgdisk": "Problem opening the device for reading! Error is 13.",
    "partx": "partx: cannot open the device: Permission denied",
    "lvs": "  WARNING: Running as a non-root user. Functionality may be unavailable.",
}

BROUGHT_BY = {
    "ceph": "ceph-common",
    "ceph-volume": "ceph-volume",
    "pveceph": "pve-manager",
    "sgdisk": "gdisk",
    "lvs": "lvm2",
}
NOT_FOUND = 127


def _command(name: str) -> Command:
    def run(who: Who, words: Words) -> Result:
        return _run(who, name, words)

    return run


def _run(who: Who, name: str, words: Words, typed: str = "") -> Result:
    from ocifree_pipeline.sandbox.ceph.on_proxmox import site_of

    if BROUGHT_BY.get(name, "bash") not in who.machine.guest["packages"]:
        return Result(NOT_FOUND, err=f"bash: {name}: command not found\n")
    if name in FOR_ROOT and who.user != "root":
        return Result(1, err=FOR_ROOT[name] + "\n")
    site = site_of(who.machine)
    site.typed = typed
    return PROGRAMS[name](site, words)


def _pveceph(who: Who, words: Words) -> Result | Steps:
    if words[:1] != ("install",):
        return _run(who, "pveceph", words)
    return _install(who, words)


def _install(who: Who, words: Words) -> Steps:
    """apt asks, whatever options `pveceph install` has."""
    typed = yield from read_line(who.stdin)
    done = _run(who, "pveceph", words, typed or "")
    yield done
    return done.code


COMMANDS: dict[str, Command] = {name: _command(name) for name in PROGRAMS} | {"pveceph": _pveceph}
