"""The Linux distributions that the simplest guest can be: what they call themselves, and who may log in."""

from dataclasses import dataclass

from ocifree_pipeline.sandbox.machines.computer import Computer


@dataclass(frozen=True, slots=True)
class Distribution:
    ident: str
    name: str
    pretty_name: str
    version: str
    user: str
    kernel: str
    like: str = ""

    def os_release(self) -> str:
        lines = {
            "PRETTY_NAME": self.pretty_name,
            "NAME": self.name,
            "VERSION_ID": self.version,
            "ID": self.ident,
        } | ({"ID_LIKE": self.like} if self.like else {})
        return "".join(f'{key}="{value}"\n' if key != "ID" else f"ID={value}\n" for key, value in lines.items())


def of(machine: Computer) -> Distribution:
    """By the operating system that the image was imported as; an unnamed one is taken for Debian."""
    disk = machine.disk
    family, version = str(disk["os"]).lower(), str(disk["osVersion"]).split()[0] if disk["osVersion"] else ""
    arm = machine.architecture == "aarch64"
    if "ubuntu" in family:
        return Distribution(
            "ubuntu", "Ubuntu", f"Ubuntu {version} LTS", version, "ubuntu", "6.8.0-1035-oracle", like="debian"
        )
    if "oracle" in family:
        kernel = f"6.12.0-105.51.5.el9uek.{machine.architecture}"
        return Distribution(
            "ol", "Oracle Linux Server", f"Oracle Linux Server {version}", version, "opc", kernel, "fedora"
        )
    number = version if version[:1].isdigit() else "13"
    kernel = f"6.12.48+deb{number}-{'arm64' if arm else 'amd64'}"
    return Distribution("debian", "Debian GNU/Linux", f"Debian GNU/Linux {number} (trixie)", number, "debian", kernel)
