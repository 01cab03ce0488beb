"""The files of a guest: those that its state implies, and those that were written.

What is mounted over the disk (``/etc/pve`` of a Proxmox node) has rules of its own, see ``Mount``.
"""

from typing import Protocol

from ocifree_pipeline.sandbox.machines import distributions, names
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Who

TUNNEL = "/dev/net/tun"
DEVICES = (
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/dev/sda",
    "/dev/sda1",
    "/dev/console",
    TUNNEL,
)
DIRECTORIES = (
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/network",
    "/etc/apt",
    "/etc/apt/sources.list.d",
    "/etc/network/interfaces.d",
    "/etc/sysctl.d",
    "/home",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",  # noqa: S108 - a directory of the guest
    "/usr",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/share",
    "/usr/share/keyrings",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",  # noqa: S108
)
OF_PROXMOX_IMAGE = {
    "/etc/network/interfaces": "auto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n",
    "/etc/network/interfaces.d/ocifree-bridge": (
        "auto vmbr0\niface vmbr0 inet manual\n"
        "    bridge-ports none\n    bridge-stp off\n    bridge-fd 0\n    mtu 1500\n"
    ),
    "/etc/ssh/sshd_config.d/05-ocifree-image.conf": "PasswordAuthentication no\nPermitRootLogin no\n",
}
ROOTS_HOME = "/root"
ROOTS_SSH = f"{ROOTS_HOME}/.ssh"
OF_PROXMOX_NODE = {f"{ROOTS_SSH}/id_rsa.pub": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== root@node\n"}
OF_HARDENED_IMAGE = {
    "/etc/apt/sources.list.d/tailscale.sources": "Types: deb\nURIs: https://pkgs.tailscale.com/stable/debian\n",
    "/usr/share/keyrings/tailscale-archive-keyring.gpg": "the key of Tailscale's repository\n",
}
SOCKETS = "/dev/tcp/"
"""Below it bash, and nobody else, opens connections."""
FREE = ("/tmp/", "/var/tmp/", "/dev/null", "/dev/stdout", "/dev/stderr")  # noqa: S108


class Mount(Protocol):
    """A file system of its own below ``prefix``, which ends in a slash."""

    prefix: str

    def texts(self, machine: Computer) -> dict[str, str]: ...

    def write(self, machine: Computer, path: str, text: str | None) -> str:
        """Write, or remove with None. What is returned says why not."""


def mounts(machine: Computer) -> list[Mount]:
    if "pve" not in machine.guest:
        return []
    from ocifree_pipeline.sandbox.proxmox.pmxcfs import Corosync, Pmxcfs

    return [Pmxcfs(), Corosync()]


def texts(machine: Computer) -> dict[str, str]:
    """Path -> content of every regular file."""
    from ocifree_pipeline.sandbox.machines.host_keys import public_line

    guest, system = machine.guest, distributions.of(machine)
    hostname = guest["hostname"]
    kilobytes = int(machine.memory_gb * 1024 * 1024)
    found = {
        "/etc/os-release": system.os_release(),
        "/usr/lib/os-release": system.os_release(),
        "/etc/debian_version": f"{system.version}\n",
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": names.default_hosts(machine),
        "/etc/machine-id": f"{guest['machineId']}\n",
        "/etc/ssh/ssh_host_ed25519_key.pub": f"{public_line(machine)}\n",
        "/var/lib/cloud/data/instance-id": f"{machine.key}\n",
        "/proc/version": f"Linux version {system.kernel} #1 SMP {machine.architecture}\n",
        "/proc/cpuinfo": "".join(f"processor\t: {number}\n\n" for number in range(machine.vcpus)),
        "/proc/meminfo": f"MemTotal: {kilobytes} kB\nMemAvailable: {kilobytes * 9 // 10} kB\n",
        "/proc/sys/kernel/random/boot_id": f"{_boot_id(machine)}\n",
    }
    if names.is_hardened(machine):
        found |= OF_HARDENED_IMAGE
    if names.is_for_proxmox(machine):
        found |= OF_PROXMOX_IMAGE
    if "pve" in guest:
        found |= OF_PROXMOX_NODE
    if machine.is_uefi:
        found["/sys/firmware/efi/fw_platform_size"] = "64\n"
    for user, keys in guest["users"].items():
        found[f"{home(user)}/.ssh/authorized_keys"] = "".join(f"{key}\n" for key in keys)
    if guest["cloudInit"]["status"] != "running":
        found["/var/lib/cloud/instance/boot-finished"] = "finished\n"
    written: dict[str, str] = guest["files"]
    found |= written
    for one in mounts(machine):
        found = {path: text for path, text in found.items() if not path.startswith(one.prefix)}
        found |= one.texts(machine)
    return {path: text for path, text in found.items() if path not in guest.get("removed", ())}


def _boot_id(machine: Computer) -> str:
    digits = f"{machine.guest['machineId'][:20]}{machine.boots:012x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def home(user: str) -> str:
    return "/root" if user == "root" else f"/home/{user}"


def absolute(who: Who, path: str) -> str:
    """Relative paths begin at home, for nobody changes directory."""
    if path.startswith("~/"):
        path = home(who.user) + path[1:]
    elif not path.startswith("/"):
        path = f"{home(who.user)}/{path}"
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def exists(machine: Computer, path: str) -> bool:
    if path == TUNNEL:
        return bool(machine.guest.get("hasTunnel", True))
    return is_directory(machine, path) or path in DEVICES or path in texts(machine)


def is_directory(machine: Computer, path: str) -> bool:
    bare = path.rstrip("/") or "/"
    if bare in DIRECTORIES or bare in machine.guest.get("directories", ()):
        return True
    if bare in {home(user) for user in (*machine.guest["users"], "root")}:
        return True
    return any(one.startswith(bare.rstrip("/") + "/") for one in (*texts(machine), *DEVICES))


def children(machine: Computer, path: str) -> list[str]:
    """The names in a directory."""
    prefix = path.rstrip("/") + "/"
    everything = (*texts(machine), *DEVICES, *DIRECTORIES, *machine.guest.get("directories", ()))
    return sorted({one[len(prefix) :].split("/")[0] for one in everything if one.startswith(prefix) and one != prefix})


def mode(machine: Computer, path: str) -> int:
    """Permissions of a file or directory."""
    given = machine.guest.get("modes", {}).get(path)
    if given is not None:
        return int(given[0])
    if is_directory(machine, path):
        return 0o700 if path == "/root" or path.endswith("/.ssh") else 0o755
    return 0o600 if path.endswith("/authorized_keys") or path.startswith("/etc/pve/priv/") else 0o644


def owner(machine: Computer, path: str) -> str:
    given = machine.guest.get("modes", {}).get(path)
    if given is not None:
        return str(given[1])
    parts = path.split("/")
    return parts[2] if len(parts) > 2 and parts[1] == "home" else "root"


def set_mode(machine: Computer, path: str, bits: int | None = None, user: str | None = None) -> None:
    now = (mode(machine, path) if bits is None else bits, owner(machine, path) if user is None else user)
    machine.guest.setdefault("modes", {})[path] = list(now)


def may_read(who: Who, path: str) -> bool:
    if who.user == "root" or owner(who.machine, path) == who.user:
        return True
    return bool(mode(who.machine, path) & 0o004) and not path.startswith(("/root/", "/etc/pve/priv/"))


def read(who: Who, path: str) -> str | None:
    """The content of a regular file; None when there is none that this user may read."""
    path = absolute(who, path)
    if path in {"/dev/null", "/dev/zero"}:
        return ""
    content = texts(who.machine).get(path)
    return content if content is not None and may_read(who, path) else None


def why_not(who: Who, path: str) -> str:
    """Why a file cannot be written there; empty when it can."""
    path = absolute(who, path)
    if path in FREE:
        return ""
    if path.startswith(SOCKETS):
        return _why_no_connection(who.machine, path)
    if is_directory(who.machine, path):
        return "Is a directory"
    parent = path.rpartition("/")[0] or "/"
    if not is_directory(who.machine, parent):
        return "No such file or directory"
    mine = path.startswith(FREE) or path.startswith(home(who.user) + "/") or owner(who.machine, path) == who.user
    if who.user != "root" and not mine:
        return "Permission denied"
    if path.startswith(("/proc/", "/sys/")):
        return "Permission denied"
    return ""


def _why_no_connection(machine: Computer, path: str) -> str:
    from ocifree_pipeline.sandbox.machines.programs.network import answers

    host, _, port = path.removeprefix(SOCKETS).partition("/")
    found = names.resolve(machine, host)
    return "" if found and port.isdigit() and answers(machine, found[0], int(port)) else "Connection refused"


def write(who: Who, path: str, text: str | None) -> str:
    """Write a file, or remove it with None. What is returned says why that cannot be."""
    path = absolute(who, path)
    if path in {"/dev/null", "/dev/stdout", "/dev/stderr"}:
        return ""
    if wrong := why_not(who, path):
        return wrong
    if path.startswith(SOCKETS):
        return ""
    machine = who.machine
    for one in mounts(machine):
        if path.startswith(one.prefix):
            return one.write(machine, path, text)
    guest = machine.guest
    removed = guest.setdefault("removed", [])
    user = next((name for name in guest["users"] if path == f"{home(name)}/.ssh/authorized_keys"), None)
    if user is not None:
        guest["users"][user] = (text or "").splitlines()
        return ""
    if text is None:
        guest["files"].pop(path, None)
        guest.get("modes", {}).pop(path, None)
        if path in texts(machine):
            removed.append(path)
        return ""
    is_new = path not in texts(machine)
    if path in removed:
        removed.remove(path)
    guest["files"][path] = text
    if is_new and owner(machine, path) != who.user:
        set_mode(machine, path, user=who.user)
    return ""
