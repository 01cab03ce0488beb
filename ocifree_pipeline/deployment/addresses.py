"""One address plan: every range the platform uses, checked against the others and against what must stay free. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from itertools import combinations, islice
from typing import Any

from ocifree_pipeline.deployment.objection import Objection

TAILNET = IPv4Network("100.64.0.0/10")

_PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_TAKEN: Mapping[IPv4Network, str] = {
    TAILNET: "belongs to the tailnet; Tailscale gives its machines addresses from there",
    IPv4Network("169.254.0.0/16"): "is link-local; Oracle serves metadata, DNS and time there",
    IPv4Network("127.0.0.0/8"): "is loopback and never leaves a machine",
    IPv4Network("224.0.0.0/4"): "is multicast and addresses no machine",
}


@dataclass(frozen=True, slots=True)
class _Rule:
    widest: int
    narrowest: int
    because: str


_SIZES: Mapping[str, _Rule] = {
    "vcn_cidr": _Rule(16, 28, "Oracle makes networks from /16 down, and two subnets must fit"),
    "public_subnet": _Rule(16, 29, "Oracle keeps three addresses of every subnet for itself"),
    "private_subnet": _Rule(16, 29, "Oracle keeps three addresses of every subnet for itself"),
    "pods": _Rule(8, 22, "every node takes a /24 for its pods, and there must be room for a few nodes"),
    "services": _Rule(12, 24, "Kubernetes takes at most 20 bits for services, and add-ons need a few dozen"),
    "guests": _Rule(8, 22, "every node takes a /24 for its guests, and there must be room for a few nodes"),
}
_SUBNETS = ("public_subnet", "private_subnet")
_TOP = ("vcn_cidr", "pods", "services", "guests")

_ELSEWHERE = "choose a range of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 that nothing else uses"


def subnets_of(vcn: IPv4Network, taken: tuple[IPv4Network, ...] = ()) -> Iterator[IPv4Network]:
    """Subnets that fit the network and miss `taken`: /24 where there is room, else a quarter or half each."""
    prefix = max(24, min(vcn.prefixlen + 2, 29), vcn.prefixlen)
    return (net for net in vcn.subnets(new_prefix=prefix) if not any(net.overlaps(other) for other in taken))


def objections(plan: Mapping[str, IPv4Network]) -> Iterator[Objection]:
    """Everything wrong with the plan; each objection points at one range by its name."""
    alone = {name: [*_belongs(name, network), *_sane(name, network)] for name, network in plan.items()}
    # What has to move anyway is not compared with the rest: it may fit once it has moved.
    top = [name for name in _TOP if not alone[name]]
    subnets = _SUBNETS if "vcn_cidr" in top else ()
    for name in (*_TOP, *subnets):
        yield from alone[name]
    for name in subnets:
        if not plan[name].subnet_of(plan["vcn_cidr"]):
            room = next(islice(subnets_of(plan["vcn_cidr"]), _SUBNETS.index(name), None), plan["vcn_cidr"])
            yield Objection(
                f"lies outside of network.vcn_cidr ({plan['vcn_cidr']})",
                f"write a part of it, for example {room}",
                at=(name,),
                involves=(("vcn_cidr",),),
            )
    for group, fix in (
        (subnets, "move one of the two within the VCN"),
        (top, f"move one of the two: {_ELSEWHERE}"),
    ):
        for first, second in combinations(group, 2):
            if plan[first].overlaps(plan[second]):
                yield Objection(
                    f"overlaps network.{first} ({plan[first]})",
                    fix,
                    at=(second,),
                    involves=((first,),),
                )


def parse_network(value: object) -> IPv4Network | Objection:
    """A range in CIDR notation, or what is wrong with it."""
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str):
        return Objection("not text in CIDR notation", "write a range such as 10.0.0.0/16")
    try:
        network: Any = ip_network(value, strict=False)
    except ValueError:
        return Objection("not a range in CIDR notation", "write address and prefix length, such as 10.0.0.0/16")
    if network.version == 6:
        return Objection("an IPv6 range; the platform runs on IPv4", "write an IPv4 range such as 10.0.0.0/16")
    if "/" not in value:
        return Objection("an address without a prefix length", "add the length, as in 10.0.0.0/16")
    if str(network.network_address) != value.partition("/")[0]:
        return Objection("the address has bits set behind the prefix", f"write {network}")
    return IPv4Network(network)


def _belongs(name: str, network: IPv4Network) -> Iterator[Objection]:
    taken = [(block, why) for block, why in _TAKEN.items() if network.overlaps(block)]
    if taken:
        for block, why in taken:
            yield Objection(f"reaches into {block}, which {why}", _ELSEWHERE, at=(name,))
    elif not any(network.subnet_of(block) for block in _PRIVATE):
        yield Objection("not a private range: these addresses belong to others", _ELSEWHERE, at=(name,))


def _sane(name: str, network: IPv4Network) -> Iterator[Objection]:
    rule = _SIZES[name]
    fix = f"write a prefix from /{rule.widest} to /{rule.narrowest}"
    if network.prefixlen < rule.widest:
        yield Objection(f"too wide: {rule.because}", fix, at=(name,))
    if network.prefixlen > rule.narrowest:
        yield Objection(f"too narrow: {rule.because}", fix, at=(name,))
