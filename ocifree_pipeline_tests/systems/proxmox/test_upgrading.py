"""Proxmox upgraded node by node on nodes without a network: in order, gated, and gone on with whenever it dies."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, OcifreeError, Refused, Transient
from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.faults import Faults, Rule
from ocifree_pipeline.sandbox.machines import hand, tampering
from ocifree_pipeline.sandbox.proxmox import volumes
from ocifree_pipeline.sandbox.recorder import Recorder
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.proxmox.evacuation import Guest, Leaving, Room, plan_leaving
from ocifree_pipeline.systems.proxmox.gates import Counts, Gate
from ocifree_pipeline.systems.proxmox.losing import lose
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.proxmox.packages import offered, read_offer
from ocifree_pipeline.systems.proxmox.upgrading import Upgrade
from ocifree_pipeline.systems.ssh.dialer import Result
from ocifree_pipeline_tests.chaos.crash import Killed, Moment
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig
from ocifree_pipeline_tests.sandbox.proxmox.test_guests import BRIDGE, SSHD

NAMES = ("pve1", "pve2", "pve3")
CHANGING = ("qm", "pct", "systemctl", "ceph osd", "env", "dpkg")
READING = ("ceph osd dump", "env DEBIAN_FRONTEND=noninteractive apt-get -q -s", "qm list")
GIB = 1024**3


@dataclass
class Lab:
    """Three nodes with Ceph, a small guest that can move on the first, and a large one on the second."""

    rig: Rig
    folder: Path
    ran: list[str] = field(default_factory=list)
    kill_at: int = 0
    moment: Moment = "before"
    upstairs: Callable[[], list[str]] = list
    critical: frozenset[str] = frozenset()

    def upgrade(self) -> Upgrade:
        nodes = [Node(f"ampere_{at}", name, f"10.0.1.{10 + at}", self.run(name)) for at, name in enumerate(NAMES, 1)]
        gate = Gate("lab", nodes, lambda line: None, Counts(3, 3), self.upstairs, RigClock(self.rig))
        return Upgrade(gate, Journal(self.folder / "journal.jsonl"), self.critical)

    def all(self) -> list[str]:
        upgrade = self.upgrade()
        turns = upgrade.plan()
        for turn in turns:
            upgrade.take(turn)
        return [turn.node.name for turn in turns]

    def run(self, name: str) -> Any:
        def run(argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
            line = " ".join(argv).replace("ceph --connect-timeout 20", "ceph")
            changes = line.startswith(CHANGING) and not line.startswith(READING)
            if self.rig.machine(name).phase != "up":
                raise Transient(f"{name} does not speak SSH", why="it is off", fix="look again")
            if changes:
                self.ran.append(f"{name}: {line}")
                if len(self.ran) == self.kill_at and self.moment == "before":
                    raise Killed(line)
            answer = self.rig.run(name, shlex.join(argv), given.get_secret_value() if given else "", seconds=900)
            if changes and len(self.ran) == self.kill_at:
                raise Killed(line)
            return Result(answer.code, answer.out, answer.err)

        return run

    def look(self) -> Any:
        store = self.rig.node().store
        return {
            "versions": {name: self.rig.machine(name).guest["packages"]["pve-manager"] for name in NAMES},
            "boots": {name: self.rig.machine(name).boots for name in NAMES},
            "guests": {vmid: (one["node"], one["status"]) for vmid, one in store["guests"].items()},
            "flags": store["ceph"]["flags"],
            "open": [one.operation for one in Journal(self.folder / "journal.jsonl").open_intents()],
        }


@dataclass
class RigClock:
    rig: Rig

    def monotonic(self) -> float:
        return self.rig.world.clock.now().timestamp()

    def sleep(self, seconds: float) -> None:
        self.rig.wait(max(seconds, 1))


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rig = Rig.of(tmp_path_factory.mktemp("upgrading"))
    rig.form()
    rig.ok("pve1", "pveceph init --network 10.0.1.0/24 --size 2 --min_size 1")
    for at, name in enumerate(NAMES, start=1):
        rig.ok(name, "pveceph mon create")
        rig.ok(name, "sgdisk --move-second-header --new=2:0:0 --change-name=2:osd /dev/sda && partx -u /dev/sda")
        rig.ok(name, "pveceph osd create /dev/sda2")
        bridge = BRIDGE.format(own=f"10.10.0.{at}", peer="10.0.1.11" if at > 1 else "10.0.1.12")
        rig.ok(name, "tee /etc/network/interfaces.d/ocifree-bridge > /dev/null && ifreload -a", bridge)
        rig.ok(name, "install -m 0644 /dev/stdin /etc/ssh/sshd_config.d/01-nodes.conf", SSHD)
    rig.ok("pve1", "pveceph pool create vms --size 2 --min_size 1 --pg_num 32 --add_storages 1")
    rig.ok("pve1", "pvesm set local --content iso,vztmpl,import,snippets,images,rootdir")
    for name, vmid, memory in (("pve1", 100, 512), ("pve2", 101, 2048)):
        volumes.put_file(rig.node(name), "local", "import", "talos.qcow2", make_qcow2(("aarch64",), label="META"))
        rig.ok(
            name,
            f"qm create {vmid} --name vm{vmid} --machine virt --bios ovmf --efidisk0 vms:0 --cpu max --kvm 0 --scsi0 "
            f"vms:0,import-from=local:import/talos.qcow2 --net0 virtio,bridge=vmbr0 --memory {memory} --onboot 1",
        )
        rig.ok(name, f"qm start {vmid}")
    rig.wait(90)
    return rig.world.to_json()


@pytest.fixture
def lab(formed: dict[str, Any], tmp_path: Path) -> Lab:
    return again(formed, tmp_path)


def again(formed: dict[str, Any], folder: Path) -> Lab:
    world = World(folder / "world", seed=3, mode="manual")
    world.directory.mkdir(parents=True)
    world.load_json(json.loads(json.dumps(formed)))
    instruments.attach(world, Faults(), Recorder(capacity=1000))
    hand.offer(world, {"pve-manager": "9.2.12", "ceph-mon": "20.2.2-pve1"})
    return Lab(Rig(world), folder)


HOME = {"100": ("pve1", "running"), "101": ("pve2", "running")}


def test_node_by_node_and_then_nothing(lab: Lab) -> None:
    before = {name: lab.rig.machine(name).boots for name in NAMES}
    plan = [line for turn in lab.upgrade().plan() for line in turn.lines()]
    assert plan == [
        "pve1: 2 packages: ceph-mon 20.2.1-pve1 -> 20.2.2-pve1, pve-manager 9.2.11 -> 9.2.12",
        "pve1: vm100 (100) moves to pve3",
        "pve2: 2 packages: ceph-mon 20.2.1-pve1 -> 20.2.2-pve1, pve-manager 9.2.11 -> 9.2.12",
        "pve2: vm101 (101) is shut down until the node is back",
        "pve3: 2 packages: ceph-mon 20.2.1-pve1 -> 20.2.2-pve1, pve-manager 9.2.11 -> 9.2.12",
    ]
    assert lab.all() == list(NAMES)
    assert lab.look() == {
        "versions": dict.fromkeys(NAMES, "9.2.12"),
        "boots": {name: count + 1 for name, count in before.items()},
        "guests": HOME,
        "flags": [],
        "open": [],
    }
    done = [line for line in lab.ran if "apt-get" not in line and "dpkg" not in line]
    assert done[:6] == [
        "pve2: ceph osd set noout", "pve1: qm migrate 100 pve3 --online 1", "pve1: systemctl reboot",
        "pve3: qm migrate 100 pve1 --online 1", "pve2: ceph osd unset noout", "pve1: ceph osd set noout",
    ]  # fmt: skip
    assert lab.all() == []


@pytest.mark.long
def test_the_same_end_whenever_the_process_dies(formed: dict[str, Any], tmp_path: Path) -> None:
    """Two of the nodes: one whose guest moves, and one whose guest is shut down."""

    def fresh(name: str) -> Lab:
        lab = again(formed, tmp_path / name)
        lab.rig.machine("pve3").guest["packages"] |= {"pve-manager": "9.2.12", "ceph-mon": "20.2.2-pve1"}
        return lab

    undisturbed = fresh("undisturbed")
    undisturbed.all()
    expected = undisturbed.look()
    kinds = {" ".join(line.split()[:4]): at for at, line in reversed(list(enumerate(undisturbed.ran, start=1)))}
    assert len(kinds) >= 13, kinds
    moments: tuple[Moment, Moment] = ("before", "after")
    for words, at in kinds.items():
        for moment in moments:
            lab = fresh(f"{at}-{moment}")
            lab.kill_at, lab.moment = at, moment
            with pytest.raises(Killed):
                lab.all()
            lab.kill_at = 0
            lab.all()
            assert lab.look() == expected, f"killed {moment} {words}"
            assert lab.all() == [], f"killed {moment} {words}"


def cut(lab: Lab) -> None:
    tampering.cut(lab.rig.world, lab.rig.machine("pve1").key, lab.rig.machine("pve3").key)


def flag(lab: Lab) -> None:
    lab.rig.ok("pve1", "ceph osd set noout")


def skew(lab: Lab) -> None:
    tampering.set_skew(lab.rig.machine("pve3"), 3.0)


def sick(lab: Lab) -> None:
    lab.upstairs = lambda: ["etcd has no quorum"]


def osd(lab: Lab) -> None:
    lab.rig.ok("pve3", "systemctl stop ceph-osd@2")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut, "pve1 does not see pve3"),
        (flag, "OSDMAP_FLAGS: noout flag(s) set"),
        (skew, "the clock of pve3 is not synchronized"),
        (sick, "etcd has no quorum"),
        (osd, "OSD_DOWN: 1 osds down"),
    ],
)
def test_nothing_is_begun_while_anything_is_in_doubt(lab: Lab, spoil: Callable[[Lab], None], why: str) -> None:
    spoil(lab)
    before = lab.look()
    upgrade = lab.upgrade()
    (first, *_) = upgrade.plan()
    with pytest.raises(NotVerified) as error:
        upgrade.take(first)
    assert error.value.what == "pve1 is not restarted now"
    assert why in error.value.why
    assert lab.look() == before


@pytest.mark.parametrize(
    ("rule", "kind", "what"),
    [
        (Rule(service="pvetask", operation="qmigrate", times=1), NotVerified, "move vm100 (100) to pve3 failed"),
        pytest.param(
            Rule(service="apt", operation="dist-upgrade", times=9),
            OcifreeError,
            "look what pve1 would install failed",
            marks=pytest.mark.long,
        ),
        pytest.param(
            Rule(service="ceph", operation="ceph osd set", times=1),
            NotVerified,
            "set noout failed",
            marks=pytest.mark.long,
        ),
    ],
)
def test_it_stops_at_what_fails_and_goes_on_from_there(
    lab: Lab, rule: Rule, kind: type[OcifreeError], what: str
) -> None:
    instruments.attach(lab.rig.world, faults := Faults(), Recorder(capacity=100))
    faults.add(rule)
    with pytest.raises(kind) as error:
        lab.all()
    assert what in error.value.what
    assert "reboot" not in " ".join(lab.ran)
    faults.clear()
    lab.all()
    assert lab.look()["guests"] == HOME
    assert (lab.look()["flags"], lab.look()["open"]) == ([], [])


def test_a_node_that_does_not_come_back_stops_it_and_ceph_waits(lab: Lab) -> None:
    upgrade = lab.upgrade()
    first, *_ = upgrade.plan()
    run = lab.run("pve1")

    def stays_away(argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
        answer: Result = run(argv, timeout, given)
        if argv[0] == "systemctl":
            lab.rig.wait(2)
            lab.rig.off("pve1")
        return answer

    broken = Node("ampere_1", "pve1", "10.0.1.11", stays_away)
    gate = replace(upgrade.gate, nodes=[broken, *upgrade.gate.nodes[1:]])
    with pytest.raises(NotVerified) as error:
        replace(upgrade, gate=gate).take(replace(first, node=broken))
    assert error.value.what == "pve1 has not come back"
    assert "ceph osd unset noout" in error.value.fix
    assert "noout stays set, so Ceph waits for pve1" in error.value.why
    assert lab.look()["flags"] == ["noout"]
    assert lab.look()["guests"]["100"] == ("pve3", "running")
    lab.rig.on("pve1")
    assert lab.all() == list(NAMES)
    assert (lab.look()["guests"], lab.look()["flags"], lab.look()["open"]) == (HOME, [], [])


def test_a_guest_that_does_not_start_with_its_node_is_started(lab: Lab) -> None:
    lab.rig.ok("pve2", "qm set 101 --onboot 0")
    lab.rig.machine("pve1").guest["packages"] |= {"pve-manager": "9.2.12", "ceph-mon": "20.2.2-pve1"}
    lab.rig.machine("pve3").guest["packages"] |= {"pve-manager": "9.2.12", "ceph-mon": "20.2.2-pve1"}
    assert lab.all() == ["pve2"]
    assert "pve2: qm start 101" in lab.ran
    assert lab.look()["guests"] == HOME


@pytest.mark.parametrize("name", NAMES)
def test_any_one_node_may_be_lost(lab: Lab, name: str) -> None:
    upgrade = lab.upgrade()
    node = next(one for one in upgrade.gate.nodes if one.name == name)
    before = lab.look()
    loss = lose(upgrade.gate, node)
    assert 20 <= loss.away <= 60
    assert loss.still <= 10
    after = lab.look()
    assert after["boots"].pop(name) == before["boots"].pop(name) + 1
    assert after == before, "guests run at home again, and nothing is left set"


def test_a_loss_that_is_not_tolerated_is_told(lab: Lab) -> None:
    lab.rig.ok("pve1", "ceph osd pool set vms min_size 2")
    upgrade = lab.upgrade()
    run = lab.run("pve3")

    def stays_away(argv: Sequence[str], timeout: float = 0, given: SecretStr | None = None) -> Result:
        answer: Result = run(argv, timeout, given)
        if argv[0] == "systemctl":
            lab.rig.wait(2)
            lab.rig.off("pve3")
        return answer

    broken = Node("ampere_3", "pve3", "10.0.1.13", stays_away)
    with pytest.raises(NotVerified, match="without pve3, storage stands still"):
        lose(replace(upgrade.gate, nodes=[*upgrade.gate.nodes[:2], broken]), broken)


def test_two_control_planes_are_never_down_together(lab: Lab) -> None:
    store = lab.rig.node().store
    store["guests"]["102"] = json.loads(json.dumps(store["guests"]["101"] | {"status": "running"}))
    store["guests"]["102"]["config"]["name"] = "vm102"
    lab.critical = frozenset({"vm101", "vm102"})
    with pytest.raises(Refused, match="vm101 and vm102 would be down at the same time"):
        lab.upgrade().plan()


# what is decided without a node ---------------------------------------------------------------------------------------


def guest(vmid: int, memory: float, cores: int = 1, kind: str = "qemu") -> Guest:
    return Guest(kind, vmid, f"g{vmid}", "one", "running", int(memory * GIB), cores)


@pytest.mark.parametrize(
    ("guests", "rooms", "to"),
    [
        ([guest(1, 2)], {"two": 4, "three": 5}, {1: "three"}),
        ([guest(1, 2), guest(2, 3)], {"two": 4.5, "three": 4}, {2: "two", 1: "three"}),
        ([guest(1, 2)], {"two": 2.9}, {1: None}),
        ([guest(1, 2, cores=2)], {"two": 9}, {1: None}),
        ([guest(1, 0.5, kind="lxc")], {"two": 9}, {1: None}),
        ([guest(7, 1)], {"two": 9}, {7: None}),
        ([], {}, {}),
    ],
)
def test_a_guest_moves_where_there_is_room(guests: list[Guest], rooms: dict[str, float], to: dict[int, str]) -> None:
    plan = plan_leaving(guests, [Room(n, int(m * GIB), 1) for n, m in rooms.items()], lambda one: one.vmid != 7)
    assert {one.guest.vmid: one.to for one in plan} == to
    assert all(isinstance(one, Leaving) for one in plan)


def test_an_offer_is_read_from_the_simulation() -> None:
    said = (
        "2 upgraded, 1 newly installed, 1 to remove and 0 not upgraded.\n"
        "Remv proxmox-ve [9.2.0]\n"
        "Inst pve-manager [9.2.11] (9.2.12 Proxmox:stable [arm64]) []\n"
        "Inst proxmox-kernel-6.17.4-1-pve (6.17.4-1 Proxmox:stable [arm64])\n"
        "Conf pve-manager (9.2.12 Proxmox:stable [arm64])\n"
    )
    offer = read_offer(said)
    assert str(offer) == "pve-manager 9.2.11 -> 9.2.12, proxmox-kernel-6.17.4-1-pve 6.17.4-1"
    assert offer.removed == ("proxmox-ve",)
    node = Node("ampere_1", "pve1", "10.0.1.11", lambda *rest: Result(0, said, ""))
    with pytest.raises(Conflict, match="an upgrade would remove proxmox-ve"):
        offered(node)


def test_another_major_version_is_nobodys_to_take_by_the_way(lab: Lab) -> None:
    hand.offer(lab.rig.world, {"pve-manager": "10.0.1"})
    with pytest.raises(Refused, match=r"pve1: pve-manager would go from 9\.2\.11 to 10\.0\.1"):
        lab.upgrade().plan()


def test_newer_packages_are_seen_when_the_lists_are_read(lab: Lab) -> None:
    simulate = "apt-get -s dist-upgrade"
    assert "Inst" not in lab.rig.ok("pve1", simulate)
    lab.rig.ok("pve1", "apt-get update")
    assert "Inst pve-manager [9.2.11] (9.2.12 " in lab.rig.ok("pve1", simulate)
    refused = lab.rig.run("pve1", "apt-get dist-upgrade")
    assert (refused.code, "Abort." in refused.out) == (1, True)
    lab.rig.ok("pve1", "apt-get -y dist-upgrade")
    assert lab.rig.ok("pve1", "dpkg-query -W pve-manager") == "pve-manager\t9.2.12\n"
    with pytest.raises(ValueError, match="no machine of the sandbox has a package called 'nothing'"):
        hand.offer(lab.rig.world, {"nothing": "1"})
