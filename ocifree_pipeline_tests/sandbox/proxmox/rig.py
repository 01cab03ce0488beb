"""Proxmox nodes without a network: machines in a world whose time only the test moves, and their command lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.sandbox import machines
from ocifree_pipeline.sandbox.clock import Mode
from ocifree_pipeline.sandbox.machines import power, reach, shell
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.machine import of_instance
from ocifree_pipeline.sandbox.machines.session import Result, Stdin, Who
from ocifree_pipeline.sandbox.oracle import instance_life, private_ips, vnics
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.world import World

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIYsG5nEdCqWYD4nQxTdWjwMGSzoZ1dp+FcshvW6gi0E me"
ROOT = "correct-horse"
__all__ = ["Rig", "machines"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@dataclass
class Rig:
    """``count`` nodes called pve1, pve2, ... at 10.0.1.11 and so on, all up."""

    world: World

    @classmethod
    def of(cls, directory: Path, count: int = 3, *, mode: Mode = "manual", extra: Sequence[str] = ()) -> Rig:
        world = World(directory / "world", seed=3, mode=mode)
        world.directory.mkdir(parents=True, exist_ok=True)
        world.profile = {"region": "uk-london-1"}
        rig = cls(world)
        for number in range(1, count + 1):
            rig.add(f"pve{number}", f"10.0.1.{10 + number}")
        for number, name in enumerate(extra):
            rig.add(name, f"10.0.1.{100 + number}", label="debian-root", shape="VM.Standard.E2.1.Micro")
        rig.wait(60)
        return rig

    def add(
        self, name: str, address: str, *, label: str = "proxmox-root", shape: str = "VM.Standard.A1.Flex"
    ) -> Computer:
        world = self.world
        arm = shape.startswith("VM.Standard.A1")
        body = {
            "displayName": name,
            "shape": shape,
            "shapeConfig": instance_life.shape_config(shape, 1, 6),
            "launchOptions": {"firmware": "UEFI_64"},
            "metadata": {"ssh_authorized_keys": KEY},
            "lifecycleState": "RUNNING",
        }
        instance = world.add("instance", body)
        disk = {
            "os": "Debian",
            "osVersion": "13",
            "labels": ["EFI", label],
            "broken": "",
            "opaque": "",
            "format": "QCOW2",
        }
        disk |= {"boot_code": not arm, "loaders": ["aarch64" if arm else "x86_64"], "size_bytes": 3 * 1024**3}
        volume = world.add("bootvolume", {"sizeInGBs": 50, "lifecycleState": "AVAILABLE"}, hidden={"disk": disk})
        attached = {"instanceId": instance.ocid, "bootVolumeId": volume.ocid, "lifecycleState": "ATTACHED"}
        world.add("bootvolumeattachment", attached)
        seen = {"privateIp": address, "isPrimary": True, "hostnameLabel": name, "lifecycleState": "AVAILABLE"}
        vnic = world.add(vnics.KIND, seen, hidden={"instance": instance.ocid})
        world.add(private_ips.KIND, {"ipAddress": address, "vnicId": vnic.ocid})
        machine = of_instance(world, instance)
        power.power_on(machine)
        return machine

    def wait(self, seconds: float = 30) -> None:
        """Let virtual time pass, second by second, so that every step of a chain happens."""
        for _ in range(int(seconds)):
            self.world.clock.advance(1)
            self.world.settle()

    def machine(self, name: str) -> Computer:
        return next(one for one in reach.everyone(self.world) if one.hostname == name)

    def node(self, name: str = "pve1") -> Node:
        return Node(self.machine(name))

    def run(self, name: str, line: str, stdin: str | None = "", *, user: str = "root", seconds: int = 60) -> Answer:
        """Run a line; while it waits, time passes. ``stdin`` None stays open and empty."""
        given = Stdin(stdin or "", closed=stdin is not None)
        running, out, err = shell.run(Who(self.machine(name), user, given), line), "", ""
        for _ in range(seconds * 10 + 10_000):
            try:
                event = next(running)
            except StopIteration as stop:
                return Answer(int(stop.value), out, err)
            if isinstance(event, Result):
                out, err = out + event.out, err + event.err
            else:
                seconds -= 1
                if seconds < 0:
                    raise TimeoutError(f"{line} still waits after it said: {out}{err}")
                self.wait(1)
        raise TimeoutError(line)

    def ok(self, name: str, line: str, stdin: str = "") -> str:
        answer = self.run(name, line, stdin)
        assert answer.code == 0, (line, answer)
        return answer.out

    def form(self, count: int = 3) -> None:
        """A cluster of the first nodes."""
        self.ok("pve1", f"echo root:{ROOT} | chpasswd && pvecm create lab --link0 10.0.1.11")
        for number in range(2, count + 1):
            answer = self.join(f"pve{number}")
            assert "successfully added" in answer.out, answer
            self.wait(5)

    def join(self, name: str, password: str = ROOT) -> Answer:
        shown = self.fingerprint("pve1")
        return self.run(name, f"pvecm add 10.0.1.11 --fingerprint {shown}", f"{password}\n")

    def fingerprint(self, name: str) -> str:
        line = "openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem"
        return self.ok(name, line).strip().partition("=")[2]

    def off(self, name: str) -> None:
        power.power_off(self.machine(name))

    def on(self, name: str) -> None:
        power.power_on(self.machine(name))
        self.wait(60)
