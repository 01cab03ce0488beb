"""The files of a guest: those that its state implies, and those that were written."""

from ocifree_pipeline.sandbox.machines import distributions
from ocifree_pipeline.sandbox.machines.computer import Computer

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/sda", "/dev/sda1", "/dev/console")
DIRECTORIES = (
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",  # noqa: S108 - a directory of the guest
    "/usr",
    "/var",
)


def texts(machine: Computer) -> dict[str, str]:
    """Path -> content of every regular file."""
    from ocifree_pipeline.sandbox.machines.host_keys import public_line

    guest, system = machine.guest, distributions.of(machine)
    architecture = machine.architecture
    hostname = guest["hostname"]
    kilobytes = int(machine.memory_gb * 1024 * 1024)
    processors = machine.vcpus
    found = {
        "/etc/os-release": system.os_release(),
        "/usr/lib/os-release": system.os_release(),
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n",
        "/etc/machine-id": f"{guest['machineId']}\n",
        "/etc/ssh/ssh_host_ed25519_key.pub": f"{public_line(machine)}\n",
        "/var/lib/cloud/data/instance-id": f"{machine.key}\n",
        "/proc/version": f"Linux version {system.kernel} #1 SMP {architecture}\n",
        "/proc/cpuinfo": "".join(f"processor\t: {number}\n\n" for number in range(processors)),
        "/proc/meminfo": f"MemTotal: {kilobytes} kB\nMemAvailable: {kilobytes * 9 // 10} kB\n",
    }
    if machine.is_uefi:
        found["/sys/firmware/efi/fw_platform_size"] = "64\n"
    for user, keys in guest["users"].items():
        found[f"{home(user)}/.ssh/authorized_keys"] = "".join(f"{key}\n" for key in keys)
    if guest["cloudInit"]["status"] != "running":
        found["/var/lib/cloud/instance/boot-finished"] = "finished\n"
    written: dict[str, str] = guest["files"]
    return found | written


def home(user: str) -> str:
    return "/root" if user == "root" else f"/home/{user}"


def exists(machine: Computer, path: str) -> bool:
    return is_directory(machine, path) or path in DEVICES or path in texts(machine)


def is_directory(machine: Computer, path: str) -> bool:
    bare = path.rstrip("/") or "/"
    return bare in DIRECTORIES or any(one.startswith(bare.rstrip("/") + "/") for one in (*texts(machine), *DEVICES))


def children(machine: Computer, path: str) -> list[str]:
    """The names in a directory."""
    prefix = path.rstrip("/") + "/"
    everything = (*texts(machine), *DEVICES, *DIRECTORIES)
    return sorted({one[len(prefix) :].split("/")[0] for one in everything if one.startswith(prefix) and one != prefix})
