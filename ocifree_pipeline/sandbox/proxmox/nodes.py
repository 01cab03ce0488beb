"""The nodes of a world, and the stores that they share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.machines import firewall, names, reach, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.packages import PVE_VERSION
from ocifree_pipeline.sandbox.proxmox import certificates
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.world import World

KEY = "pve"
API_PORT = 8006
RELEASE = "9.2"
REPOID = "2f5e7b1cd3a90846"
LOOPBACK_NAME = (
    "Unable to resolve node name '{name}' to a non-loopback IP address - missing entry in '/etc/hosts' or DNS?"
)


@dataclass(frozen=True, slots=True)
class Node:
    """One node. It holds no state of its own."""

    machine: Computer

    @property
    def world(self) -> World:
        return self.machine.world

    @property
    def own(self) -> dict[str, Any]:
        """What it keeps for itself."""
        found: dict[str, Any] = self.machine.guest[KEY]
        return found

    @property
    def store(self) -> dict[str, Any]:
        """What is in its /etc/pve."""
        found: dict[str, Any] = stores(self.world)[self.own["store"]]
        return found

    @property
    def name(self) -> str:
        return str(self.own["name"])

    @property
    def address(self) -> str:
        return str(self.own["address"])

    @property
    def cluster(self) -> dict[str, Any] | None:
        """The corosync configuration; None outside of a cluster."""
        found: dict[str, Any] | None = self.store["cluster"]
        return found

    @property
    def is_up(self) -> bool:
        """Its machine runs, and pmxcfs with it."""
        return self.machine.phase == "up" and not self.own["failed"]

    @property
    def version(self) -> str:
        return str(self.machine.guest["packages"].get("pve-manager", PVE_VERSION))

    @property
    def now(self) -> int:
        return int(self.world.clock.now().timestamp())

    def again(self) -> "Node":
        return Node(self.machine.again())


def stores(world: World) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = world.facts.setdefault(KEY, {})
    return found


def is_node(machine: Computer) -> bool:
    return KEY in machine.guest


def everyone(world: World) -> Iterator[Node]:
    for machine in reach.SOURCES[0](world):
        if is_node(machine):
            yield Node(machine)


def members(node: Node) -> list[Node]:
    """All nodes that share this node's store, itself among them, in the order of their names."""
    found = [one for one in everyone(node.world) if one.own["store"] == node.own["store"]]
    return sorted(found, key=lambda one: one.name)


def named(node: Node, name: str) -> Node | None:
    """A node of the same cluster."""
    return next((one for one in members(node) if one.name == name), None)


def at(world: World, address: str) -> Node | None:
    machine = reach.at(world, address)
    return Node(machine) if machine is not None and is_node(machine) else None


def are_linked(one: Node, other: Node, traffic: str = "") -> bool:
    """Both run, and packets get from one to the other."""
    if not (one.is_up and other.is_up):
        return False
    if not tampering.is_linked(one.world, one.machine.key, other.machine.key, traffic):
        return False
    if traffic == tampering.COROSYNC:
        ends = ((one.machine, other.machine), (other.machine, one.machine))
        return all(firewall.permits(*pair, firewall.UDP, firewall.COROSYNC_PORT) for pair in ends)
    return firewall.permits(one.machine, other.machine, firewall.TCP, API_PORT)


def come_up(machine: Computer) -> None:
    """The services of a node start: at its first boot with a store of its own."""
    if not is_node(machine):
        machine.guest[KEY] = _new(machine)
    start(Node(machine))


def start(node: Node) -> None:
    """What pve-cluster does when it starts: who am I, and at which address?"""
    own, machine = node.own, node.machine
    if node.cluster is None:
        rename(node, str(machine.guest["hostname"]).partition(".")[0])
    address = names.own_address(machine, node.name)
    if address is None or address.startswith("127.") or address == "::1":
        own["failed"] = LOOPBACK_NAME.format(name=node.name)
        machine.print(f"[pmxcfs] {own['failed']}")
        return
    own.update(failed="", local=False, address=address, corosync=node.cluster is not None, expected=0)
    if node.cluster is not None and own["syncing"] and node.name in node.cluster["nodes"]:
        own["syncing"] = False
    update_certificate(node)


def rename(node: Node, name: str) -> None:
    before = node.own["name"]
    if before == name:
        return
    node.own["name"] = name
    for guest in node.store["guests"].values():
        if guest["node"] == before:
            guest["node"] = name


def update_certificate(node: Node, *, force: bool = False) -> bool:
    """A certificate of the store's CA for the node's name and address; True when there is a new one."""
    own, ca = node.own, node.store["ca"]
    if not force and own["pem"] and certificates.is_for(own["pem"], ca["pem"], node.name, node.address):
        return False
    own["pem"] = certificates.leaf(ca, own["key"], node.name, node.address, node.world.fresh("pveserial", 16))
    return True


def _new(machine: Computer) -> dict[str, Any]:
    world = machine.world
    ident = world.fresh("pvestore", 12)
    stores(world)[ident] = new_store(world, ident)
    return {
        "name": str(machine.guest["hostname"]).partition(".")[0],
        "address": "",
        "store": ident,
        "key": certificates.new_key(world),
        "pem": "",
        "failed": "",
        "corosync": False,
        "authkey": False,
        "syncing": False,
        "expected": 0,
        "tasks": {},
        "content": {},
        "proxy": 1,
        "proxyDown": False,
        "pending": None,
    }


def new_store(world: World, ident: str) -> dict[str, Any]:
    return {
        "id": ident,
        "cluster": None,
        "secret": world.fresh("pveauthkey", 52),
        "ca": certificates.new_authority(world),
        "users": {"root@pam": {"enable": 1, "expire": 0}},
        "tokens": {},
        "roles": {},
        "groups": {},
        "acl": [],
        "storage": {
            "local": {"type": "dir", "path": "/var/lib/vz", "content": "iso,vztmpl,backup", "shared": 0},
        },
        "sdn": {"running": {"zones": {}, "vnets": {}, "subnets": {}}, "pending": {}},
        "guests": {},
        "ha": {"resources": {}, "rules": {}},
        "options": {},
        "files": {"/etc/pve/priv/authorized_keys": ""},
        "sequence": 0,
    }


def gone(name: str) -> Exception:
    return died(f"hostname lookup '{name}' failed - failed to get address info for: {name}: Name or service not known")
