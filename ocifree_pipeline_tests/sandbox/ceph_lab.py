"""Three nodes with Ceph and no network between the test and them: commands run in this process, time moves by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.sandbox.ceph import daemons, devices
from ocifree_pipeline.sandbox.ceph.programs import PROGRAMS
from ocifree_pipeline.sandbox.ceph.site import Node, Site
from ocifree_pipeline.systems.proxmox.node import Node as Machine
from ocifree_pipeline.systems.ssh.dialer import Result

INSTALLED = ("ceph", "ceph-mon", "ceph-osd", "ceph-volume", "ceph-common", "gdisk")
CHANGING = (
    "pveceph", "sgdisk", "partx", "ceph config set", "ceph osd pool set", "ceph osd set", "ceph osd out",
    "ceph osd purge", "ceph mon remove", "tee", "ceph-volume lvm create", "ceph-volume lvm zap",
)  # fmt: skip


@dataclass
class Lab:
    """Everything that a world would hold, in plain dictionaries."""

    names: tuple[str, ...] = ("one", "two", "three")
    root_gb: int = 16
    disk_gb: int = 50
    now: float = 1_000_000.0
    shared: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    storages: dict[str, dict[str, Any]] = field(default_factory=dict)
    etc_pve: dict[str, str] = field(default_factory=dict)
    cut: set[frozenset[str]] = field(default_factory=set)
    is_writable: bool = True
    made: int = 0
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, name in enumerate(self.names, start=11):
            blocks = devices.boot_disk(self.disk_gb, self.root_gb)
            packages = dict.fromkeys(INSTALLED, "20.2.1")
            self.nodes[name] = Node(name, (f"10.0.1.{number}/24",), blocks, {}, packages, since=self.now)

    def site(self, here: str) -> Site:
        return Site(
            self.shared, self.nodes, here, self.now, self._uuid, cut=frozenset(self.cut), is_writable=self.is_writable,
            storages=self.storages, etc_pve=self.etc_pve,
        )  # fmt: skip

    def _uuid(self, purpose: str) -> str:
        self.made += 1
        return f"{purpose[:8]:0<8}-0000-4000-8000-{self.made:012d}"

    def run(self, name: str) -> Callable[..., Result]:
        """What the pipeline calls a Run: a root shell on that node."""

        def run(argv: Sequence[str], timeout: float = 120.0, given: SecretStr | None = None) -> Result:
            self.ran.append(f"{name}: {' '.join(argv)}")
            return self.command(name, tuple(argv), given.get_secret_value() if given else "")

        return run

    def command(self, name: str, words: tuple[str, ...], typed: str = "") -> Result:
        match words:
            case ("pvesh", "get", path, "--output-format", "json"):
                return self._storage(path.split("/")[4])
            case ("dpkg-query", "--show", package):
                return Result(0 if package in self.nodes[name].packages else 1, "", "")
            case ("test", "-e", path):
                return Result(0 if path in self.etc_pve else 1, "", "")
            case ("cat", path):
                return Result(0, self.etc_pve[path], "")
            case ("tee", path):
                self.etc_pve[path] = typed
                return Result(0, typed, "")
            case ("udevadm", "settle"):
                return Result(0, "", "")
        site = self.site(name)
        site.typed = typed
        result = PROGRAMS[words[0]](site, words[1:])
        return Result(result.code, result.out, result.err)

    def _storage(self, storage: str) -> Result:
        if storage not in self.storages:
            return Result(2, "", f"storage '{storage}' does not exist\n")
        return Result(0, json.dumps({"active": 1, "type": "rbd"}), "")

    def node(self, name: str) -> Machine:
        """That node as the pipeline sees it."""
        machine = f"ampere_{self.names.index(name) + 1}"
        return Machine(machine, name, self.nodes[name].addresses[0].partition("/")[0], self.run(name))

    def machines(self) -> list[Machine]:
        return [self.node(name) for name in self.names]

    def asked(self, *words: str, node: str = "") -> Any:
        """What `ceph ... --format json` says there."""
        result = self.command(node or self.up()[0], ("ceph", *words, "--format", "json"))
        assert result.exit == 0, result.stderr
        return json.loads(result.stdout)

    def up(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.is_up]

    def said(self, name: str, line: str) -> Result:
        return self.command(name, tuple(line.split()))

    def good(self, name: str, line: str) -> str:
        result = self.said(name, line)
        assert result.exit == 0, f"{line}: {result.stderr}"
        assert not result.stderr, f"{line}: {result.stderr}"
        return result.stdout

    def replace(self, name: str, address: str) -> None:
        """The machine is gone; another one of its name has empty disks and another address."""
        boots = self.nodes[name].boots
        blocks = devices.boot_disk(self.disk_gb, self.root_gb)
        packages = dict.fromkeys(INSTALLED, "20.2.1")
        self.nodes[name] = Node(name, (f"{address}/24",), blocks, {}, packages, since=self.now, boots=boots)
        self.pass_time(0)

    # what happens to it

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.shared:
            daemons.settle(self.site(self.names[0]))

    def switch_off(self, name: str) -> None:
        self.nodes[name].is_up, self.nodes[name].since = False, self.now
        self.pass_time(0)

    def switch_on(self, name: str) -> None:
        node = self.nodes[name]
        node.is_up, node.since, node.boots = True, self.now, node.boots + 1
        self.pass_time(0)

    def changes(self) -> list[str]:
        """The commands so far that could have changed something."""
        return [line for line in self.ran if changes_something(line.partition(": ")[2])]


def changes_something(line: str) -> bool:
    return line.replace("ceph --connect-timeout 20", "ceph").startswith(CHANGING)


@dataclass
class LabClock:
    """Time that passes in the lab when somebody waits."""

    lab: Lab

    def monotonic(self) -> float:
        return self.lab.now

    def sleep(self, seconds: float) -> None:
        self.lab.pass_time(seconds)


def formed(size: int = 2, min_size: int = 1) -> Lab:
    """Three nodes with a partition each, monitors, managers, OSDs and a pool."""
    lab = Lab()
    lab.good("one", f"pveceph init --network 10.0.1.0/24 --size {size} --min_size {min_size}")
    for name in lab.names:
        lab.good(name, "pveceph mon create")
    for name in lab.names:
        lab.good(name, "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda")
        lab.good(name, "partx --update /dev/sda")
        lab.good(name, "pveceph osd create /dev/sda2")
    lab.good(
        "one",
        f"pveceph pool create vm-storage --size {size} --min_size {min_size} --pg_num 32 --pg_autoscale_mode on "
        "--add_storages 1",
    )
    lab.pass_time(10)
    return lab
