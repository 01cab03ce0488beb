"""What the virtual network lets through decides whether nodes hear each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.sandbox.machines import firewall
from ocifree_pipeline.sandbox.machines.firewall import TCP, UDP
from ocifree_pipeline.sandbox.oracle import network_life, network_security_groups, vnics
from ocifree_pipeline_tests.sandbox.proxmox.rig import Rig


def rule(direction: str, protocol: str, peer: str, ports: tuple[int, int] | None = None) -> dict[str, Any]:
    side = "source" if direction == "INGRESS" else "destination"
    kind = "CIDR_BLOCK" if "/" in peer else "NETWORK_SECURITY_GROUP"
    made: dict[str, Any] = {"direction": direction, "protocol": protocol, side: peer, f"{side}Type": kind}
    if ports is not None:
        name = {TCP: "tcpOptions", UDP: "udpOptions"}[protocol]
        made[name] = {"destinationPortRange": {"min": ports[0], "max": ports[1]}}
    return made


def fenced(directory: Path, *rules: dict[str, Any]) -> Rig:
    """Two nodes in one security group with these rules; everything may leave."""
    rig = Rig.of(directory, 2)
    group = rig.world.add(network_life.SECURITY_GROUP.name, {"lifecycleState": "AVAILABLE"}, ocid="group")
    group.hidden[network_security_groups.RULES] = [rule("EGRESS", "all", "0.0.0.0/0"), *rules]
    subnet = rig.world.add(network_life.SUBNET.name, {"securityListIds": []})
    for vnic in rig.world.all(vnics.KIND):
        vnic.body.update(subnetId=subnet.ocid, nsgIds=["group"])
    return rig


@pytest.mark.parametrize(
    ("rules", "protocol", "port", "may"),
    [
        ((), TCP, 22, False),
        ((rule("INGRESS", "all", "group"),), UDP, 5405, True),
        ((rule("INGRESS", TCP, "10.0.1.0/24", (22, 22)),), TCP, 22, True),
        ((rule("INGRESS", TCP, "10.0.1.0/24", (22, 22)),), TCP, 23, False),
        ((rule("INGRESS", TCP, "10.0.1.0/24"),), UDP, 22, False),
        ((rule("INGRESS", UDP, "10.9.0.0/24", (5405, 5412)),), UDP, 5405, False),
        ((rule("INGRESS", UDP, "::/0", (5405, 5412)),), UDP, 5405, False),
        ((rule("INGRESS", "all", "another-group"),), UDP, 5405, False),
    ],
)
def test_rules(tmp_path: Path, rules: tuple[dict[str, Any], ...], protocol: str, port: int, may: bool) -> None:
    rig = fenced(tmp_path, *rules)
    assert firewall.permits(rig.machine("pve1"), rig.machine("pve2"), protocol, port) is may


def test_a_forgotten_udp_rule_makes_a_join_wait_for_ever(tmp_path: Path) -> None:
    rig = fenced(tmp_path, rule("INGRESS", TCP, "group"))
    rig.ok("pve1", "echo root:correct-horse | chpasswd && pvecm create lab --link0 10.0.1.11")
    with pytest.raises(TimeoutError, match="waiting for quorum"):
        rig.join("pve2")
    rules = rig.world.table(network_life.SECURITY_GROUP.name)["group"].hidden[network_security_groups.RULES]
    rules.append(rule("INGRESS", UDP, "group", (5405, 5412)))
    rig.wait(20)
    assert rig.run("pve2", "pvecm status").code == 0


@pytest.mark.parametrize(("port", "code"), [(22, 0), (8006, 1), (23, 1)])
def test_bash_opens_connections_by_itself(tmp_path: Path, port: int, code: int) -> None:
    rig = fenced(tmp_path, rule("INGRESS", TCP, "10.0.1.0/24", (22, 23)))
    answer = rig.run("pve1", f"timeout 10 bash -c ': > /dev/tcp/10.0.1.12/{port}'")
    assert answer.code == code, answer
    assert not rig.ok("pve1", "ls /dev").count("tcp")
