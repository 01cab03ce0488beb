"""Address arithmetic of virtual networks: which blocks Oracle accepts, which addresses of a subnet are free."""

import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.world import World

SHORTEST, LONGEST = 16, 30
FORBIDDEN = tuple(IPv4Network(one) for one in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
PUBLIC_POOL = tuple(IPv4Network(one) for one in ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"))
"""The documentation ranges of RFC 5737: no packet to such an address ever meets a stranger."""
IPV6_POOL = IPv6Network("2001:db8::/32")


def any_block(text: str, name: str) -> IPv4Network | IPv6Network:
    """A CIDR block of either family without host bits, or 400."""
    try:
        if "/" in text:
            return ipaddress.ip_network(text)
    except ValueError as error:
        raise errors.invalid_parameter(f"{name} {text!r} is not a valid CIDR block: {error}") from error
    raise errors.invalid_parameter(f"{name} {text!r} is not a valid CIDR block: it has no prefix length")


def block(text: str, name: str = "cidrBlock") -> IPv4Network:
    """A block that a VCN or a subnet may have."""
    network = any_block(text, name)
    if not isinstance(network, IPv4Network):
        raise errors.invalid_parameter(f"{name} {text!r} is not an IPv4 CIDR block")
    if not SHORTEST <= network.prefixlen <= LONGEST:
        raise errors.invalid_parameter(
            f"The requested CIDR {text} is invalid: the prefix length must be from /{SHORTEST} to /{LONGEST}."
        )
    if any(network.overlaps(one) for one in FORBIDDEN):
        raise errors.invalid_parameter(f"The requested CIDR {text} is invalid: the range is reserved.")
    return network


def ipv6_block(text: str, prefix: int, name: str) -> IPv6Network:
    network = any_block(text, name)
    if not isinstance(network, IPv6Network) or network.prefixlen != prefix:
        raise errors.invalid_parameter(f"{name} {text!r} must be an IPv6 prefix of length /{prefix}")
    return network


def address(text: str, name: str = "ipAddress") -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise errors.invalid_parameter(f"{name} {text!r} is not a valid IPv4 address") from error


def overlapping(networks: Sequence[IPv4Network]) -> tuple[IPv4Network, IPv4Network] | None:
    """The first two of the blocks that share addresses."""
    for at, one in enumerate(networks):
        for other in networks[at + 1 :]:
            if one.overlaps(other):
                return one, other
    return None


def within(inner: IPv4Network, outer: Iterable[IPv4Network]) -> bool:
    return any(inner.subnet_of(one) for one in outer)


def router(network: IPv4Network) -> IPv4Address:
    """The default gateway of a subnet: its first host."""
    return network[1]


def is_usable(network: IPv4Network, wanted: IPv4Address) -> bool:
    """Oracle keeps three addresses of each subnet: the network, the default gateway, the broadcast address."""
    return wanted in network and wanted not in {network[0], router(network), network[-1]}


def free_address(world: World, network: IPv4Network, used: Collection[IPv4Address]) -> IPv4Address | None:
    """A free address of the subnet: any, as in life, but the same one in every world of the same seed."""
    hosts = _Hosts(int(network[2]), network.num_addresses - 3)
    return hosts.pick(world, used) if hosts.has_room(used) else None


def free_public_address(world: World, used: Collection[IPv4Address]) -> IPv4Address:
    pools = [_Hosts(int(network[1]), network.num_addresses - 2) for network in PUBLIC_POOL]
    left = [hosts for hosts in pools if hosts.has_room(used)]
    if not left:
        raise errors.internal("Out of public IP addresses.")
    return left[_number(world, "publicaddress") % len(left)].pick(world, used)


def free_ipv6_address(world: World, network: IPv6Network, used: Collection[IPv6Address]) -> IPv6Address:
    while (found := network[(_number(world, "ipv6address") << 16) + 2]) in used:
        pass
    return found


def mac(world: World, prefix: str) -> str:
    """``02:00:17`` begins the MAC of a VNIC, ``00:00:17`` that of a subnet's router."""
    tail = hashlib.sha256(world.fresh("mac").encode()).digest()[:3]
    return ":".join([prefix, *(f"{one:02x}" for one in tail)])


def link_local(mac_address: str) -> str:
    """The IPv6 address that a router forms of its MAC (RFC 4291, appendix A)."""
    octets = [int(one, 16) for one in mac_address.split(":")]
    inner = bytes([octets[0] ^ 2, octets[1], octets[2], 0xFF, 0xFE, *octets[3:]])
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + inner))


@dataclass(frozen=True, slots=True)
class _Hosts:
    """The addresses of a network that can be given away."""

    first: int
    count: int

    def has_room(self, used: Collection[IPv4Address]) -> bool:
        return sum(0 <= int(one) - self.first < self.count for one in used) < self.count

    def pick(self, world: World, used: Collection[IPv4Address]) -> IPv4Address:
        start = _number(world, "address")
        steps = (IPv4Address(self.first + (start + step) % self.count) for step in range(self.count))
        return next(one for one in steps if one not in used)


def _number(world: World, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(world.fresh(purpose).encode()).digest()[:4])
