"""What a firewall rule may say, for security lists and network security groups alike."""

import re
from collections.abc import Callable
from typing import Any

from ocifree_pipeline.sandbox.oracle import addresses, errors, oracle_services
from ocifree_pipeline.sandbox.world import World

ICMP, TCP, UDP, ICMPV6 = "1", "6", "17", "58"
OPTIONS = {"tcpOptions": (TCP,), "udpOptions": (UDP,), "icmpOptions": (ICMP, ICMPV6)}
PROTOCOL = re.compile(r"all|[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]")

GroupCheck = Callable[[str], None]
"""Refuses what is not a network security group that rules may name."""


def checked(
    world: World, region: str, rule: dict[str, Any], peer: str, *, group: GroupCheck | None = None
) -> dict[str, Any]:
    """The rule as it is kept, or 400. ``peer`` is the side that it is about: source or destination."""
    _check_protocol(rule)
    if peer not in rule:
        raise errors.missing_parameter(peer)
    kind = rule.get(f"{peer}Type", "CIDR_BLOCK")
    kept = {"isStateless": False} | rule | {f"{peer}Type": kind}
    if kind == "CIDR_BLOCK":
        kept[peer] = str(addresses.any_block(rule[peer], peer))
    elif kind == "SERVICE_CIDR_BLOCK":
        oracle_services.check_label(world, region, rule[peer], peer)
    elif group is not None:
        group(rule[peer])
    return kept


def _check_protocol(rule: dict[str, Any]) -> None:
    protocol = rule["protocol"]
    if not PROTOCOL.fullmatch(protocol):
        raise errors.invalid_parameter(f"protocol {protocol!r} must be all or the number of an IP protocol")
    for name, allowed in OPTIONS.items():
        if name in rule and protocol not in allowed:
            raise errors.invalid_parameter(f"{name} can only be given for protocol {' or '.join(allowed)}")
    for name in ("tcpOptions", "udpOptions"):
        for side in ("destinationPortRange", "sourcePortRange"):
            ports = rule.get(name, {}).get(side)
            if ports is not None and not 1 <= ports["min"] <= ports["max"] <= 65535:
                raise errors.invalid_parameter(f"{name}.{side} must be a range of ports from 1 to 65535")
    icmp = rule.get("icmpOptions")
    if icmp is not None and not (0 <= icmp["type"] <= 255 and 0 <= icmp.get("code", 0) <= 255):
        raise errors.invalid_parameter("icmpOptions must have a type and a code from 0 to 255")
