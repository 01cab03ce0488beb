"""cloud-init, as far as it decides who can log in and what the first boot leaves behind.

It runs once per instance: a boot volume that moves to another instance gets new host keys and new accounts. What a
user asks for and the guest cannot do is an error of cloud-init, as it would be in life; nothing is passed over.
"""

import base64
import binascii
import gzip
import hashlib
from collections.abc import Callable
from typing import Any

import yaml

from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.machines import packages
from ocifree_pipeline.sandbox.machines.computer import Computer

IGNORED = frozenset(
    {
        "apt",
        "chpasswd",
        "disable_root",
        "final_message",
        "growpart",
        "locale",
        "manage_etc_hosts",
        "ntp",
        "package_reboot_if_required",
        "package_update",
        "package_upgrade",
        "power_state",
        "preserve_hostname",
        "resize_rootfs",
        "ssh",
        "ssh_deletekeys",
        "ssh_genkeytypes",
        "ssh_pwauth",
        "timezone",
    }
)
"""Modules that change nothing one could see on this guest."""

Run = Callable[[Computer, str], tuple[int, str]]
"""Runs a command line as root: exit code and output."""


def first_boot(machine: Computer, default_user: str) -> None:
    """Give the guest its identity and accounts, unless it has had them as this instance already."""
    guest, instance = machine.guest, machine.key
    if guest.get("instance") == instance:
        return
    guest.update(
        instance=instance,
        hostKey=hashlib.sha256(machine.world.fresh("hostkey", 52).encode()).hexdigest(),
        machineId=hashlib.sha256(machine.world.fresh("machineid", 52).encode()).hexdigest()[:32],
        hostname=machine.hostname,
        users={},
        cloudInit={"status": "running", "errors": [], "runcmd": []},
    )
    guest.setdefault("files", {})
    keys = machine.ssh_keys
    config = _user_data(machine)
    names = _list(config.get("users", ["default"]))
    if "default" in names:
        guest["users"][default_user] = keys + _texts(config.get("ssh_authorized_keys"))
    for user in names:
        if isinstance(user, dict) and user.get("name"):
            guest["users"][str(user["name"])] = _texts(user.get("ssh_authorized_keys"))
    if config.get("hostname"):
        guest["hostname"] = str(config["hostname"])
    for file in _list(config.get("write_files")):
        _write(machine, file)
    guest.setdefault("packages", packages.brought(machine))
    if unknown := packages.add(machine, [str(one) for one in _list(config.get("packages"))]):
        _error(machine, "cc_package_update_upgrade_install", f"Unable to locate package {' '.join(unknown)}")
    guest["cloudInit"]["runcmd"] = _list(config.get("runcmd"))
    known = IGNORED | {"users", "ssh_authorized_keys", "hostname", "fqdn", "write_files", "packages", "runcmd"}
    for name in sorted(config.keys() - known):
        _error(machine, f"cc_{name}", "this guest of the sandbox has no such module")


def final_stage(machine: Computer, run: Run) -> None:
    """Run ``runcmd`` and report; on later boots there is nothing to do."""
    found = machine.guest["cloudInit"]
    if found["status"] != "running":
        return
    for command in found["runcmd"]:
        line = " ".join(_quoted(str(word)) for word in command) if isinstance(command, list) else str(command)
        code, output = run(machine, line)
        if code:
            _error(machine, "scripts_user", f"runcmd failed with exit code {code}: {line}: {output.strip()}")
    found["status"] = "error" if found["errors"] else "done"
    now = machine.world.clock.now()
    up = (now - parse(machine.state["since"])).total_seconds()
    machine.print(f"Cloud-init v. 25.1.4 finished at {stamp(now)}. Datasource DataSourceOracle.  Up {up:.2f} seconds")


def _user_data(machine: Computer) -> dict[str, Any]:
    try:
        text = machine.user_data()
    except ValueError as error:
        return _error(machine, "user-data", f"it cannot be decoded: {error}")
    if not text:
        return {}
    if not text.startswith("#cloud-config"):
        return _error(machine, "user-data", "only #cloud-config is played by this guest of the sandbox")
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        return _error(machine, "user-data", f"Failed loading yaml blob: {' '.join(str(error).split())}")
    if not isinstance(config, dict):
        return _error(machine, "user-data", "#cloud-config must be a mapping")
    return config


def _write(machine: Computer, file: Any) -> None:
    if not isinstance(file, dict) or not isinstance(file.get("path"), str):
        _error(machine, "cc_write_files", "an entry has no path")
        return
    content, encoding = str(file.get("content", "")), str(file.get("encoding", "text/plain"))
    try:
        data = base64.b64decode(content, validate=True) if "b64" in encoding or "base64" in encoding else None
        data = gzip.decompress(data) if data is not None and encoding.startswith(("gz", "gzip")) else data
    except (binascii.Error, OSError, EOFError) as error:
        _error(machine, "cc_write_files", f"{file['path']} cannot be decoded: {error}")
        return
    files = machine.guest["files"]
    before = files.get(file["path"], "") if file.get("append") else ""
    files[file["path"]] = before + (content if data is None else data.decode("utf-8", "replace"))


def _error(machine: Computer, module: str, message: str) -> dict[str, Any]:
    machine.guest["cloudInit"]["errors"].append(f"('{module}', {message})")
    machine.print(f"[CLOUDINIT] {module}[WARNING]: {message}")
    return {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any) -> list[str]:
    return [str(one).strip() for one in _list(value)]


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\"'\"'") + "'"
