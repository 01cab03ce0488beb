"""Virtual machines and containers: what is refused, what moves, what survives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.sandbox import instruments, machines
from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines import backend
from ocifree_pipeline.sandbox.proxmox import methods, volumes
from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.console import invoke
from ocifree_pipeline.sandbox.proxmox.guests import Guest
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.proxmox.rig import Answer, Rig

ARM = (
    "--machine virt --bios ovmf --efidisk0 local:0 --cpu max --kvm 0 --scsi1 local:cloudinit --net0 virtio,bridge=vmbr0"
)
BRIDGE = (
    "auto vx\niface vx inet manual\n    vxlan-id 7\n    vxlan-remoteip {peer}\n    mtu 8950\n"
    "auto vmbr0\niface vmbr0 inet static\n    address {own}/16\n    bridge-ports vx\n    mtu 8950\n"
)
SSHD = "Match Address 10.0.1.0/24\n    PermitRootLogin prohibit-password\nMatch all\n"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Two nodes, one segment for guests, storages that take everything, a Talos image on the first node."""
    made = Rig.of(tmp_path, 2)
    made.form(2)
    for name, own, peer in (("pve1", "10.10.0.1", "10.0.1.12"), ("pve2", "10.10.0.2", "10.0.1.11")):
        bridge = BRIDGE.format(own=own, peer=peer)
        made.ok(name, "tee /etc/network/interfaces.d/ocifree-bridge > /dev/null && ifreload -a", bridge)
        made.ok(name, "install -m 0644 /dev/stdin /etc/ssh/sshd_config.d/01-nodes.conf", SSHD)
    made.ok("pve1", "pvesm set local --content iso,vztmpl,import,snippets,images,rootdir")
    node = made.node()
    image = make_qcow2(("aarch64",), label="META", virtual_gb=2)
    volumes.put_file(node, "local", "import", "talos.qcow2", image)
    volumes.put_file(node, "local", "import", "pc.qcow2", make_qcow2(("x86_64",)))
    shared = {"type": "dir", "path": "/mnt/shared", "content": "images", "shared": 1}
    node.store["storage"]["shared"] = shared
    return made


def create(rig: Rig, vmid: int = 100, *, more: str = "", store: str = "local", image: str = "talos.qcow2") -> Answer:
    disk = f"--scsi0 {store}:0,import-from=local:import/{image}"
    what = ARM.replace("local:", f"{store}:")
    return rig.run("pve1", f"qm create {vmid} --name vm{vmid} {what} {disk} --ipconfig0 ip=10.10.0.10/16 {more}")


def vm(rig: Rig, vmid: str = "100", name: str = "pve1") -> Guest:
    return Guest(rig.node(name), vmid)


def told(rig: Rig, name: str, path: str) -> Any:
    return json.loads(rig.ok(name, f"pvesh get {path} --output-format json"))


def test_a_machine_boots_what_was_imported_and_answers_at_its_address(rig: Rig) -> None:
    assert create(rig).code == 0
    rig.ok("pve1", "qm start 100")
    rig.wait(60)
    guest = vm(rig)
    assert (guest.phase, guest.platform, guest.addresses) == ("up", "nocloud", ["10.10.0.10"])
    assert backend.choose(guest).name == "talos"
    assert rig.run("pve1", "nc -z 10.10.0.10 50000").code == 0
    assert rig.run("pve2", "nc -z 10.10.0.10 50000").code == 0
    rig.ok("pve2", "echo > /etc/network/interfaces.d/ocifree-bridge && ifreload -a")
    assert rig.run("pve2", "nc -z 10.10.0.10 50000").code == 1, "its bridge is gone"


def test_its_configuration_comes_from_a_snippet_on_its_node(rig: Rig) -> None:
    create(rig, more="--cicustom user=local:snippets/talos.yaml")
    answer = rig.run("pve1", "qm start 100")
    assert answer.code != 0
    assert "No such file or directory" in answer.err
    rig.ok("pve1", "install -D -m 0600 /dev/stdin /var/lib/vz/snippets/talos.yaml", "machine: {}\n")
    rig.ok("pve1", "qm start 100")
    assert vm(rig).user_data() == "machine: {}\n"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--kvm 1", "KVM virtualisation configured, but not available."),
        ("--cores 9", "MAX 1 vcpus allowed per VM on this node"),
        ("--cpu host", "CPU type 'host' requires KVM"),
        ("--memory 65536", "Cannot allocate memory"),
        ("--ide2 local:cloudinit", "aarch64 cannot use IDE devices"),
        ("--bios seabios", "OVMF only"),
        ("--machine q35", "unsupported machine type"),
        ("--net1 virtio,bridge=vmbr9", "bridge 'vmbr9' does not exist"),
    ],
)
def test_what_a_node_cannot_run_is_refused_when_it_starts(rig: Rig, more: str, says: str) -> None:
    create(rig)
    rig.ok("pve1", f"qm set 100 {more}")
    answer = rig.run("pve1", "qm start 100")
    assert answer.code != 0
    assert says in answer.err
    assert told(rig, "pve1", "/nodes/pve1/qemu/100/status/current")["status"] == "stopped"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("qm create 100 --name again", "unable to create VM 100 - VM 100 already exists on node 'pve1'"),
        ("qm create 99 --name x", "value does not look like a valid VM ID"),
        ("qm create 101 --scsi0 nowhere:8", "storage 'nowhere' does not exist"),
        ("qm create 101 --scsi0 local:0,import-from=local:import/none.qcow2", "does not exist"),
        ("qm create 101 --scsi40 local:8", "property is not defined in schema"),
        ("qm create 101 --kvm=maybe", "type check ('boolean') failed"),
        ("qm create 101 --kvm maybe", "too many arguments"),
        ("qm destroy 100", "VM 100 is running - destroy failed"),
        ("qm start 100", "VM 100 already running"),
        ("qm resize 100 scsi0 1G", "shrinking disks is not supported"),
        ("qm start 300", "does not exist"),
        ("qm dance 100", "unknown command"),
        ("qm migrate 100 pve2", "can't migrate running VM without --online"),
        ("qm migrate 100 pve1 --online 1", "target is local node."),
        ("qm migrate 100 pve2 --online 1", "can't migrate attached local disks"),
    ],
)
def test_refusals(rig: Rig, line: str, says: str) -> None:
    create(rig)
    rig.ok("pve1", "qm start 100")
    answer = rig.run("pve1", line)
    assert answer.code != 0
    assert says in answer.err, answer


def test_a_machine_for_another_processor_stays_silent(rig: Rig) -> None:
    create(rig, image="pc.qcow2")
    rig.ok("pve1", "qm start 100")
    rig.wait(60)
    assert vm(rig).phase == "silent"
    assert "this machine is aarch64" in vm(rig).state["reason"]


def test_a_running_machine_moves_and_stays_reachable(rig: Rig) -> None:
    create(rig, store="shared")
    rig.ok("pve1", "qm start 100")
    rig.wait(60)
    boots = vm(rig).boots
    assert "migration finished successfully (duration 00:00:12)" in rig.ok("pve1", "qm migrate 100 pve2 --online 1")
    assert rig.run("pve1", "qm status 100").code == 2
    assert rig.ok("pve2", "qm status 100") == "status: running\n"
    moved = vm(rig, name="pve2").again()
    assert (moved.node.name, moved.boots, moved.phase) == ("pve2", boots, "up")
    assert rig.run("pve1", "nc -z 10.10.0.10 50000").code == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rm /etc/ssh/sshd_config.d/01-nodes.conf", "Can't connect to destination address using public key"),
        ("pvesm set shared --nodes pve1", "storage 'shared' is not available on node 'pve2'"),
    ],
)
def test_a_move_that_cannot_be_leaves_everything_as_it_was(rig: Rig, line: str, says: str) -> None:
    create(rig, store="shared")
    rig.ok("pve1", "qm start 100")
    rig.ok("pve2", line)
    answer = rig.run("pve1", "qm migrate 100 pve2 --online 1")
    assert answer.code != 0
    assert says in answer.err
    assert rig.ok("pve1", "qm status 100") == "status: running\n"


def test_guests_go_with_their_node_and_come_back_with_it(rig: Rig) -> None:
    create(rig, more="--onboot 1")
    rig.ok("pve1", "qm start 100")
    rig.wait(60)
    rig.off("pve1")
    assert vm(rig).phase == "off"
    rig.on("pve1")
    rig.wait(30)
    assert vm(rig).phase == "up"


def test_what_is_looked_after_starts_elsewhere_when_there_is_quorum(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path)
    rig.form()
    rig.node().store["storage"]["shared"] = {"type": "dir", "path": "/x", "content": "images", "shared": 1}
    rig.ok("pve1", "qm create 100 --name x --kvm 0 --cpu max --bios ovmf --machine virt --scsi0 shared:1")
    rig.ok("pve1", "pvesh create /cluster/ha/resources --sid vm:100")
    rig.ok("pve1", "qm start 100")
    rig.off("pve1")
    rig.wait(60)
    assert rig.run("pve2", "qm status 100").code == 2, "nobody knows yet whether its node is gone"
    rig.wait(90)
    found = [name for name in ("pve2", "pve3") if rig.run(name, "qm status 100").out == "status: running\n"]
    assert len(found) == 1


def test_a_create_that_fails_leaves_no_guest(rig: Rig) -> None:
    rule = Rule(service="pvetask", operation="qmcreate", message="can't lock file - got timeout")
    instruments.of(rig.world).faults.add(rule)
    answer = create(rig)
    assert answer.code != 0
    assert "got timeout" in answer.err


def test_a_node_that_dies_while_it_makes_a_guest_leaves_it_locked(rig: Rig) -> None:
    instruments.of(rig.world).faults.add(Rule(service="pvetask", operation="qmcreate", moment="reset"))
    assert "unexpected status" in create(rig).err
    rig.wait(60)
    assert told(rig, "pve1", "/nodes/pve1/qemu/100/config")["lock"] == "create"
    assert "VM is locked (create)" in rig.run("pve1", "qm start 100").err
    rig.ok("pve1", "qm unlock 100 && qm destroy 100")
    assert create(rig).code == 0


def test_running_guests_survive_a_snapshot(rig: Rig) -> None:
    create(rig)
    rig.ok("pve1", "qm start 100")
    rig.wait(60)
    again = World(rig.world.directory, mode="manual")
    again.load_json(json.loads(json.dumps(rig.world.to_json())))
    restored = Rig(again)
    assert vm(restored).phase == "up"
    assert restored.run("pve1", "nc -z 10.10.0.10 50000").code == 0


LATER = """
import json, sys
from pathlib import Path
from ocifree_pipeline.sandbox import machines
from ocifree_pipeline.sandbox.world import World
world = World(Path(sys.argv[1]), mode="manual")
world.load_json(json.loads(Path(sys.argv[2]).read_text()))
for _ in range(60):
    world.clock.advance(1)
    world.settle()
print([one.phase for one in machines.reach.everyone(world) if one.hostname == "vm100"])
"""


def test_what_was_begun_goes_on_in_another_process(rig: Rig, tmp_path: Path) -> None:
    create(rig)
    invoke(rig.node(), "POST", "/nodes/pve1/qemu/100/status/start")
    (tmp_path / "world.json").write_text(json.dumps(rig.world.to_json()))
    argv = [sys.executable, "-c", LATER, str(rig.world.directory), str(tmp_path / "world.json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "['up']\n", done.stderr


def test_a_copy_of_a_template_has_disks_and_cards_of_its_own_and_no_more_kvm_than_it(rig: Rig) -> None:
    create(rig, 102)
    assert "uses local storage" in rig.run("pve1", "qm clone 102 103 --target pve2").err
    create(rig, store="shared")
    rig.ok("pve1", "qm template 100")
    assert "you can't start a vm if it's a template" in rig.run("pve1", "qm start 100").err
    assert "linked copies are not played" in rig.run("pve1", "qm clone 100 101").err
    rig.ok("pve1", "qm clone 100 101 --name copy --full 1 --target pve2")
    before, after = vm(rig).config, vm(rig, "101", "pve2").config
    assert (after["name"], after["kvm"], "template" in after) == ("copy", 0, False)
    for name in ("scsi0", "efidisk0", "net0", "smbios1"):
        assert before[name] != after[name]
    rig.ok("pve1", "qm destroy 100")
    rig.ok("pve2", "qm start 101")
    rig.wait(60)
    assert vm(rig, "101", "pve2").phase == "up"


def test_what_somebody_may_in_a_pool_he_may_with_its_members(rig: Rig) -> None:
    create(rig)
    for line in (
        "pvesh create /pools --poolid lab --comment ours",
        "pvesh create /access/users --userid a@pve",
        "pveum acl modify /pool/lab --users a@pve --roles PVEVMUser",
    ):
        rig.ok("pve1", line)

    def seen() -> list[int]:
        return [one["vmid"] for one in methods.invoke(rig.node(), Caller("a@pve"), "GET", "/nodes/pve1/qemu")]

    assert seen() == []
    rig.ok("pve1", "pvesh set /pools --poolid lab --vms 100 --storage shared")
    assert seen() == [100]
    (pool,) = told(rig, "pve2", "/pools --poolid lab")
    assert {one["id"] for one in pool["members"]} == {"qemu/100", "storage/pve1/shared", "storage/pve2/shared"}
    rig.ok("pve1", "pvesh create /pools --poolid other")
    assert "allow-move is not set" in rig.run("pve1", "pvesh set /pools --poolid other --vms 100").err
    assert "is not empty" in rig.run("pve1", "pvesh delete /pools --poolid lab").err
    rig.ok("pve1", "pvesh set /pools --poolid lab --vms 100 --storage shared --delete 1")
    rig.ok("pve1", "pvesh delete /pools --poolid lab")
    assert told(rig, "pve1", "/pools") == [{"poolid": "other"}]


# containers -----------------------------------------------------------------------------------------------------------


def container(rig: Rig, more: str = "") -> Answer:
    rig.ok("pve1", "pveam update")
    template = next(line.split()[1] for line in rig.ok("pve1", "pveam available").splitlines() if "debian-13" in line)
    rig.run("pve1", f"pveam download local {template}")
    net = "name=eth0,bridge=vmbr0,ip=10.10.0.50/16,gw=10.10.0.1"
    options = f"--hostname ct --rootfs local:2 --net0 {net} --unprivileged 1 --features nesting=1 {more}"
    return rig.run("pve1", f"pct create 200 local:vztmpl/{template} {options}")


def test_a_container_runs_commands_inside(rig: Rig) -> None:
    assert container(rig).code == 0
    assert "not running" in rig.run("pve1", "pct exec 200 -- hostname").err
    rig.ok("pve1", "pct start 200")
    rig.wait(60)
    assert rig.ok("pve1", "pct exec 200 -- hostname") == "ct\n"
    assert rig.ok("pve1", "pct exec 200 -- tee /etc/x", "given\n") == "given\n"
    rig.ok("pve1", "pct push 200 /etc/hosts /root/hosts --perms 0600")
    assert rig.ok("pve1", "pct exec 200 -- stat -c %a /root/hosts") == "600\n"
    assert rig.run("pve1", "pct exec 200 -- pvecm status").code == 127
    assert rig.run("pve1", "pct exec 200 -- test -e /dev/net/tun").code == 1
    _, eth0 = told(rig, "pve1", "/nodes/pve1/lxc/200/interfaces")
    assert (eth0["name"], eth0["ip-addresses"][0]["ip-address"], eth0["inet"]) == (
        "eth0",
        "10.10.0.50",
        "10.10.0.50/16",
    )


def test_the_tunnel_device_is_there_after_it_was_given_and_a_start(rig: Rig) -> None:
    container(rig)
    rig.ok("pve1", "pct set 200 --dev0 /dev/net/tun && pct start 200")
    rig.wait(60)
    assert rig.run("pve1", "pct exec 200 -- test -e /dev/net/tun").code == 0


def test_containers_do_not_move_while_they_run(rig: Rig) -> None:
    container(rig)
    rig.ok("pve1", "pct start 200")
    assert "lxc live migration is currently not implemented" in rig.run("pve1", "pct migrate 200 pve2 --online 1").err
    rig.ok("pve1", "pct migrate 200 pve2 --restart 1")
    rig.wait(60)
    assert rig.ok("pve2", "pct exec 200 -- hostname") == "ct\n"


# networks -------------------------------------------------------------------------------------------------------------


def test_a_bridge_on_the_card_loses_the_machine(rig: Rig) -> None:
    text = "auto vmbr0\niface vmbr0 inet static\n    address 10.0.1.12/24\n    bridge-ports enp0s6\n"
    rig.run("pve2", "tee /etc/network/interfaces.d/ocifree-bridge > /dev/null && ifreload -a", text)
    assert rig.machine("pve2").phase == "silent"
    assert "MAC address" in rig.machine("pve2").state["reason"]
    assert rig.run("pve1", "pvecm status").code == 2


def test_what_is_changed_over_the_api_waits_until_it_is_applied(rig: Rig) -> None:
    rig.ok("pve1", "pvesh create /nodes/pve1/network --iface vmbr7 --type bridge --cidr 10.77.0.1/24 --autostart 1")
    assert "vmbr7" not in rig.ok("pve1", "ip addr")
    rig.ok("pve1", "pvesh set /nodes/pve1/network")
    assert "10.77.0.1/24" in rig.ok("pve1", "ip addr show vmbr7")
    assert "10.10.0.1/16" in rig.ok("pve1", "ip addr show vmbr0"), "what was there stays"


def test_a_vxlan_zone_joins_the_nodes_after_it_was_applied(rig: Rig) -> None:
    rig.ok("pve1", "pvesh create /cluster/sdn/zones --zone guests --type vxlan --peers 10.0.1.11,10.0.1.12")
    assert "missing vxlan tag" in rig.run("pve1", "pvesh create /cluster/sdn/vnets --vnet v1 --zone guests").err
    rig.ok("pve1", "pvesh create /cluster/sdn/vnets --vnet v1 --zone guests --tag 9")
    assert told(rig, "pve1", "/cluster/sdn/vnets?pending=1".partition("?")[0]) == [
        {"vnet": "v1", "type": "vnet", "zone": "guests", "tag": 9}
    ]
    assert rig.run("pve2", "ip addr show v1").code == 1
    rig.ok("pve1", "pvesh set /cluster/sdn")
    assert "mtu 8950" in rig.ok("pve2", "ip addr show v1")
    subnets = "/cluster/sdn/vnets/v1/subnets"
    rig.ok("pve1", f"pvesh create {subnets} --subnet 10.30.0.0/16 --type subnet")
    rig.ok("pve1", f"pvesh set {subnets}/guests-10.30.0.0-16 --gateway 10.30.0.1")
    assert told(rig, "pve2", f"{subnets}/guests-10.30.0.0-16")["gateway"] == "10.30.0.1"
    assert "does not exist" in rig.run("pve1", f"pvesh get {subnets.replace('v1', 'v2')}/guests-10.30.0.0-16").err
    rig.ok("pve1", "pvesh set /cluster/sdn")
    assert "10.30.0.1/16" in rig.ok("pve2", "ip addr show v1")


def test_nobody_finds_a_guest_that_is_off(rig: Rig) -> None:
    create(rig)
    assert machines.reach.at(rig.world, "10.10.0.10") is None
