"""The network interfaces of a guest: its card, and what ifupdown2 makes of /etc/network/interfaces.

What runs is state of its own (``guest["links"]``): a file that was changed means nothing before ``ifreload`` or a boot.
"""

import shlex
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_interface
from typing import Any

from ocifree_pipeline.sandbox.machines import files, firewall, reach, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer

FILE = "/etc/network/interfaces"
CARD = "enp0s6"
CARD_MTU = 9000
LOST = (
    "its network card is a port of the bridge {bridge}: packets leave with the bridge's MAC address, and the virtual "
    "network takes those of the card only"
)


@dataclass(slots=True)
class Stanza:
    """One ``iface`` of the file; ``options`` keeps each line, for one option may come again."""

    name: str
    method: str = "manual"
    auto: bool = False
    options: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str:
        return next((value for key, value in self.options if key == name), "")


def parse(text: str, sources: dict[str, str] | None = None) -> dict[str, Stanza]:
    """The interfaces of a file. ValueError names the line that is wrong. ``sources`` are the files around it."""
    found: dict[str, Stanza] = {}
    auto: set[str] = set()
    current: Stanza | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = shlex.split(line, comments=True) if line.count('"') % 2 == 0 else line.split()
        match words:
            case []:
                continue
            case ["auto" | "allow-hotplug", *names]:
                auto.update(names)
                current = None
            case ["iface", name, *rest]:
                current = found.setdefault(name, Stanza(name))
                current.method = rest[1] if len(rest) > 1 else "manual"
            case ["source" | "source-directory", pattern]:
                for path, inside in sorted((sources or {}).items()):
                    if fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/"):
                        found.update(parse(inside))
            case [option, *rest] if current is not None:
                current.options.append((option.replace("_", "-"), " ".join(rest)))
            case _:
                raise ValueError(f"{FILE}: line{number}: iface: unsupported keyword ({words[0]})")
    for name in auto & found.keys():
        found[name].auto = True
    return found


def declared(machine: Computer) -> dict[str, Stanza]:
    texts = files.texts(machine)
    return parse(texts.get(FILE, ""), texts)


def card(machine: Computer) -> dict[str, Any]:
    """The card as the virtual network set it up by DHCP."""
    addresses = [f"{one}/24" for one in machine.addresses[:1]]
    return {"kind": "card", "mtu": CARD_MTU if machine.platform == "oracle" else 1500, "addresses": addresses}


def running(machine: Computer) -> dict[str, dict[str, Any]]:
    """Interfaces by name: ``kind``, ``mtu``, ``addresses`` with prefix, and what else its kind has."""
    made: dict[str, dict[str, Any]] = machine.guest.get("links", {})
    return {CARD: card(machine)} | made


def reload(machine: Computer) -> str:
    """What ``ifreload -a`` does. The text says what is wrong; then nothing was changed."""
    try:
        wanted = declared(machine)
        made = {name: _made(one) for name, one in wanted.items() if one.auto and name not in {"lo", CARD}}
    except ValueError as error:
        return f"error: {error}\n"
    machine.guest["links"] = {name: link for name, link in made.items() if link is not None}
    for one in wanted.values():
        for option, value in one.options:
            if option in {"post-up", "up", "pre-up"} and one.auto:
                _hook(machine, value)
    for name, link in machine.guest["links"].items():
        if CARD in link.get("ports", ()):
            machine.state.update(phase="silent", reason=LOST.format(bridge=name))
            machine.print(f"[net] {LOST.format(bridge=name)}")
            reach.cut(machine.world, machine.key)
    return ""


def _made(one: Stanza) -> dict[str, Any]:
    addresses = [str(ip_interface(value)) for key, value in one.options if key == "address"]
    link: dict[str, Any] = {"kind": "other", "mtu": int(one.get("mtu") or 1500), "addresses": addresses}
    if one.get("bridge-ports") or one.name.startswith("vmbr"):
        link |= {"kind": "bridge", "ports": [port for port in one.get("bridge-ports").split() if port != "none"]}
    elif one.get("vxlan-id"):
        peers = [value for key, value in one.options if key in {"vxlan_remoteip", "vxlan-remoteip"}]
        link |= {"kind": "vxlan", "id": int(one.get("vxlan-id")), "peers": peers}
    return link


def _hook(machine: Computer, line: str) -> None:
    """Commands after an interface came up: what they change is seen, what they say is lost."""
    from ocifree_pipeline.sandbox.machines.linux import run_as_root

    run_as_root(machine, line)


def has_address(machine: Computer, ip: str) -> bool:
    return any(str(ip_interface(one).ip) == ip for link in running(machine).values() for one in link["addresses"])


def behind_bridge(machine: Computer, ip: str) -> Computer | None:
    """The node whose bridge answers at ``ip`` for this one: its own, or one at the other end of a tunnel."""
    name = owner_of_network(machine, ip)
    if name is None or name == CARD:
        return None
    for other in reach.everyone(machine.world):
        if other.platform == "oracle" and other.phase == "up" and has_address(other, ip):
            return other if other.key == machine.key or are_tunnelled(machine, other, name) else None
    return None


def are_tunnelled(one: Computer, other: Computer, bridge: str) -> bool:
    """Whether the bridges of that name on two machines are one segment, by a tunnel whose ends name each other."""
    here, there = _tunnels(one, bridge), _tunnels(other, bridge)
    if not tampering.is_linked(one.world, one.key, other.key):
        return False
    ends = ((one, other), (other, one))
    if not all(firewall.permits(*pair, firewall.UDP, firewall.VXLAN_PORT) for pair in ends):
        return False
    return any(
        number in there and set(other.addresses) & set(peers) and set(one.addresses) & set(there[number])
        for number, peers in here.items()
    )


def _tunnels(machine: Computer, bridge: str) -> dict[int, list[str]]:
    links = running(machine)
    ports = [links[port] for port in links.get(bridge, {}).get("ports", ()) if port in links]
    return {int(one["id"]): list(one["peers"]) for one in ports if one["kind"] == "vxlan"}


def owner_of_network(machine: Computer, ip: str) -> str | None:
    """The interface in whose network an address lies."""
    wanted = ip_interface(ip).ip
    for name, link in running(machine).items():
        if any(wanted in ip_interface(one).network for one in link["addresses"]):
            return name
    return None
