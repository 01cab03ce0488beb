"""The files of the guests' network: no port but the tunnel, the same however often they are read."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from ocifree_pipeline.systems.proxmox.network import FORWARDING, INTERFACES, TRANSLATION, Link, Wanted, mtu_for


def wanted(*peers: str) -> Wanted:
    return Wanted(
        gateway=IPv4Interface("10.20.1.1/16"),
        own=IPv4Address("10.0.1.12"),
        peers=tuple(map(IPv4Address, peers)),
        inside=(IPv4Network("10.0.0.0/16"),),
        vni=4000,
        mtu=8950,
    )


def stanzas(text: str) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["iface"]:
            now = found.setdefault(words[1], {})
        elif line.startswith(" "):
            now.setdefault(words[0], []).append(" ".join(words[1:]))
    return found


def test_the_only_port_of_the_bridge_is_the_tunnel_to_every_other_node() -> None:
    found = stanzas(wanted("10.0.1.11", "10.0.1.13").files[INTERFACES])
    assert found["vmbr0"]["bridge-ports"] == ["vxguests"], "never the card: Oracle drops foreign addresses"
    assert found["vmbr0"]["address"] == ["10.20.1.1/16"]
    assert found["vxguests"]["vxlan-remoteip"] == ["10.0.1.11", "10.0.1.13"]
    assert found["vxguests"]["vxlan-local-tunnelip"] == ["10.0.1.12"]
    assert found["vxguests"]["mtu"] == found["vmbr0"]["mtu"] == ["8950"]


def test_a_single_node_has_a_bridge_without_a_port() -> None:
    found = stanzas(wanted().files[INTERFACES])
    assert found["vmbr0"]["bridge-ports"] == ["none"]
    assert "vxguests" not in found


def test_guests_are_translated_on_the_way_out_and_not_among_themselves() -> None:
    files = wanted("10.0.1.11").files
    assert files[FORWARDING] == "net.ipv4.ip_forward = 1\n"
    lines = [line.strip() for line in files[TRANSLATION].splitlines()]
    assert lines[:2] == ["table ip ocifree_guests", "delete table ip ocifree_guests"], (
        "reading it twice changes nothing"
    )
    assert "ip saddr 10.20.0.0/16 ip daddr != 10.20.0.0/16 masquerade" in lines


def test_only_what_the_internet_asks_for_web_goes_to_the_guest_of_the_entrance() -> None:
    lines = [
        line.strip() for line in replace(wanted(), entrance=IPv4Address("10.20.1.10")).files[TRANSLATION].splitlines()
    ]
    assert "ip daddr 10.0.1.12 tcp dport { 80, 443 } dnat to 10.20.1.10" in lines
    assert not [line for line in wanted().files[TRANSLATION].splitlines() if "dnat" in line]


@pytest.mark.parametrize(
    ("links", "declared", "mtu"), [((9000, 9000), 8950, 8950), ((9000, 1500), 8950, 1450), ((9000,), 1400, 1400)]
)
def test_packets_are_as_large_as_the_smallest_link_carries(links: tuple[int, ...], declared: int, mtu: int) -> None:
    assert mtu_for([Link("ens3", one) for one in links], declared) == mtu
