"""From (ask, room) to a plan that fits, or to all the reasons why none does. Pure.

How it works: a topology has a smallest form (one OCPU a node, the least memory and disk its programs need). If the
smallest form has no placement, the limits in its way are the answer. If it has one, OCPUs, then memory, then disk are
raised as far as a placement still exists. A placement puts every machine into an availability domain, so that the
limits of each domain and of the region hold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ocifree_pipeline.deployment.allowances import LABELS, Resource
from ocifree_pipeline.deployment.limits import BOUND_TO_AD, Envelope
from ocifree_pipeline.deployment.plan import (
    A1_SHAPE,
    BASTION_BOOT_GB,
    MICRO_SHAPE,
    CephSpace,
    Guest,
    Headroom,
    Machine,
    Plan,
    Refusal,
    Shortfall,
    Topology,
)

MIN_BOOT_GB = 50
MAX_MEMORY_GB_PER_OCPU = 64

PROXMOX_NODES = 3
PROXMOX_ROOT_GB = 16
PROXMOX_HOST_MEMORY_GB = 5  # Proxmox 1.5, monitor 0.7, manager 0.5, OSD 1.8, system 0.5
TALOS_MIN_MEMORY_GB = 2
TALOS_NATIVE_MEMORY_GB = 4
TALOS_MIN_DISK_GB = 10
TALOS_DISK_GB = 20
CEPH_NEARFULL = 0.85
QUORUM = 3


@dataclass(frozen=True, slots=True)
class Size:
    """A1 node size: whole OCPUs, whole GB."""

    ocpus: int
    memory_gb: int
    boot_volume_gb: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What the declaration wants, reduced to what the solver decides on."""

    topology: Topology | None  # None lets the solver choose
    count: int | None = None
    sizes: tuple[Size, ...] | None = None
    bastion: bool = True
    control_planes: int | None = None
    ceph_size: int = 2
    images: Mapping[Topology, int] | None = None  # custom images each topology imports
    image_gb: int = 10


def solve(ask: Ask, room: Envelope) -> Plan | Refusal:
    """The plan for the asked topology, or for the first that fits when none is asked for."""
    wanted: tuple[Topology, ...] = (ask.topology,) if ask.topology else ("proxmox-ceph", "talos-native")
    rejected: list[Refusal] = []
    for topology in wanted:
        answer = _solve_topology(replace(ask, topology=topology), topology, room)
        if isinstance(answer, Plan):
            return replace(answer, rejected=tuple(rejected))
        rejected.append(answer)
    return replace(rejected[0], nearest=_nearest(ask, room))


def _nearest(ask: Ask, room: Envelope) -> Plan | None:
    """Fewer or smaller nodes of the same topology first, then the other topology."""
    free = replace(ask, count=None, sizes=None, control_planes=None)
    topologies: list[Topology] = ["proxmox-ceph", "talos-native"]
    topologies.sort(key=lambda topology: topology != ask.topology)
    for topology in topologies:
        for bastion in dict.fromkeys((ask.bastion, False)):
            answer = _solve_topology(replace(free, topology=topology, bastion=bastion), topology, room)
            if isinstance(answer, Plan):
                return answer
    return None


def _solve_topology(ask: Ask, topology: Topology, room: Envelope) -> Plan | Refusal:
    declared = _declared_conflicts(ask, topology)
    if declared:
        return Refusal(topology, declared)
    if ask.sizes:
        return _judge(ask, topology, room, ask.sizes)
    least = _least(topology, ask)
    if ask.count or topology == "proxmox-ceph" or ask.control_planes:
        count = ask.count or max(PROXMOX_NODES if topology == "proxmox-ceph" else 1, ask.control_planes or 1)
        return _judge(ask, topology, room, _grow([least] * count, ask, topology, room))
    # Talos alone: three nodes when they fit (etcd then survives the loss of one), else one. Two gain no quorum.
    three = _judge(ask, topology, room, _grow([least] * QUORUM, ask, topology, room))
    if isinstance(three, Plan):
        return three
    return _judge(ask, topology, room, _grow([least], ask, topology, room))


def _least(topology: Topology, ask: Ask) -> Size:
    if topology == "talos-native":
        return Size(1, TALOS_NATIVE_MEMORY_GB, MIN_BOOT_GB)
    osd = math.ceil(TALOS_MIN_DISK_GB * ask.ceph_size / CEPH_NEARFULL)
    return Size(1, PROXMOX_HOST_MEMORY_GB + TALOS_MIN_MEMORY_GB, max(MIN_BOOT_GB, PROXMOX_ROOT_GB + osd))


def _declared_conflicts(ask: Ask, topology: Topology) -> tuple[Shortfall, ...]:
    """What the declaration itself rules out, whatever the account allows."""
    count = len(ask.sizes) if ask.sizes else ask.count
    found = []
    if topology == "proxmox-ceph" and count is not None and count < PROXMOX_NODES:
        found.append(
            Shortfall(
                "nodes",
                "in the declaration",
                PROXMOX_NODES,
                count,
                "nodes as declared",
                "Ceph and corosync need three nodes to outlive one.",
            )
        )
    if ask.control_planes and count is not None and count < ask.control_planes:
        found.append(
            Shortfall(
                "nodes",
                "in the declaration",
                ask.control_planes,
                count,
                "nodes as declared",
                "Each control plane needs a node of its own.",
            )
        )
    least = _least(topology, ask)
    for index, size in enumerate(ask.sizes or (), start=1):
        for what, has, needs in (
            ("memory (GB)", size.memory_gb, least.memory_gb),
            ("boot volume (GB)", size.boot_volume_gb, least.boot_volume_gb),
        ):
            if has < needs:
                found.append(
                    Shortfall(
                        what,
                        f"of ampere_{index}",
                        needs,
                        has,
                        "nodes.ampere as declared",
                        f"Below it the programs of {topology} do not run.",
                    )
                )
    return tuple(found)


# Growing the smallest form -------------------------------------------------------------------------------------------


def _grow(smallest: list[Size], ask: Ask, topology: Topology, room: Envelope) -> tuple[Size, ...]:
    """OCPUs, then memory, then disk: each as large as a placement still allows."""
    sizes = tuple(smallest)
    if _missing(_needs(ask, topology, sizes), room):
        return sizes
    count = len(sizes)

    def fits(candidate: tuple[Size, ...]) -> bool:
        return not _missing(_needs(ask, topology, candidate), room)

    def with_ocpus(total: int) -> tuple[Size, ...]:
        share, extra = divmod(total, count)
        shares = [share + (index < extra) for index in range(count)]
        # Oracle wants at least 1 GB an OCPU.
        return tuple(replace(s, ocpus=n, memory_gb=max(s.memory_gb, n)) for s, n in zip(sizes, shares, strict=True))

    sizes = with_ocpus(_highest(count, room.region[Resource.A1_OCPUS].available, lambda n: fits(with_ocpus(n))))

    def with_memory(each: int) -> tuple[Size, ...]:
        return tuple(
            replace(size, memory_gb=min(max(each, size.ocpus), size.ocpus * MAX_MEMORY_GB_PER_OCPU)) for size in sizes
        )

    memory = room.region[Resource.A1_MEMORY_GB].available // count
    sizes = with_memory(_highest(smallest[0].memory_gb, memory, lambda n: fits(with_memory(n))))

    def with_boot(each: int) -> tuple[Size, ...]:
        return tuple(replace(size, boot_volume_gb=each) for size in sizes)

    boot = room.region[Resource.BLOCK_STORAGE_GB].available // count
    return with_boot(_highest(smallest[0].boot_volume_gb, boot, lambda n: fits(with_boot(n))))


def _highest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The highest number that fits; `low` does, and what fits at n fits below n."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


# Placement -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Need:
    """What one machine takes from its availability domain."""

    name: str
    takes: Mapping[Resource, int]


@dataclass(frozen=True, slots=True)
class _Needs:
    machines: tuple[_Need, ...]
    regional: Mapping[Resource, int]


@dataclass(frozen=True, slots=True)
class _Gap:
    resource: Resource
    ad: str | None
    needed: int


def _needs(ask: Ask, topology: Topology, sizes: tuple[Size, ...]) -> _Needs:
    machines = [
        _Need(
            f"ampere_{index}",
            {
                Resource.A1_OCPUS: size.ocpus,
                Resource.A1_MEMORY_GB: size.memory_gb,
                Resource.BLOCK_STORAGE_GB: size.boot_volume_gb,
            },
        )
        for index, size in enumerate(sizes, start=1)
    ]
    if ask.bastion:
        bastion = {Resource.MICRO_INSTANCES: 1, Resource.BLOCK_STORAGE_GB: BASTION_BOOT_GB}
        machines.append(_Need("bastion", bastion))
    images = (ask.images or {}).get(topology, 0)
    return _Needs(
        machines=tuple(machines),
        regional={
            Resource.VCNS: 1,
            Resource.CUSTOM_IMAGES: images,
            Resource.OBJECT_STORAGE_GB: ask.image_gb if images else 0,
        },
    )


def _placements(needs: _Needs, room: Envelope) -> list[tuple[str | None, ...]]:
    """Every way to put the machines into domains; A1 nodes together first, for the sake of latency."""
    domains: tuple[str | None, ...] = room.domains or (None,)
    ways = itertools.product(domains, repeat=len(needs.machines))
    return sorted(ways, key=lambda way: len(set(way)))


def _gaps(needs: _Needs, way: tuple[str | None, ...], room: Envelope) -> list[_Gap]:
    regional = dict(needs.regional)
    by_ad: dict[tuple[str, Resource], int] = {}
    for machine, ad in zip(needs.machines, way, strict=True):
        for resource, amount in machine.takes.items():
            regional[resource] = regional.get(resource, 0) + amount
            if ad is not None:
                by_ad[ad, resource] = by_ad.get((ad, resource), 0) + amount
    gaps = [_Gap(r, None, amount) for r, amount in regional.items() if amount > room.region[r].available]
    gaps += [_Gap(r, ad, amount) for (ad, r), amount in by_ad.items() if amount > room.ads[ad][r].available]
    return gaps


def _missing(needs: _Needs, room: Envelope) -> list[_Gap]:
    """The fewest limits that would have to rise; empty when a placement exists."""
    best: list[_Gap] | None = None
    for way in _placements(needs, room):
        gaps = _gaps(needs, way, room)
        if not gaps:
            return []
        if best is None or (len(gaps), sum(g.needed for g in gaps)) < (len(best), sum(g.needed for g in best)):
            best = gaps
    return best or []


def _place(needs: _Needs, room: Envelope) -> tuple[str | None, ...]:
    return next(way for way in _placements(needs, room) if not _gaps(needs, way, room))


# The answer ----------------------------------------------------------------------------------------------------------

_WHY: Mapping[Resource, str] = {
    Resource.A1_OCPUS: "Oracle gives A1 OCPUs whole, at least one a node.",
    Resource.A1_MEMORY_GB: "Below it the programs on the nodes do not run.",
    Resource.MICRO_INSTANCES: "The bastion is a Micro; `nodes.bastion: none` does without it.",
    Resource.BLOCK_STORAGE_GB: "Every boot volume takes at least 50 GB and cannot shrink later.",
    Resource.CUSTOM_IMAGES: "Free accounts cannot import images; a pay-as-you-go account can.",
    Resource.OBJECT_STORAGE_GB: "An image is uploaded before it is imported and deleted afterwards.",
    Resource.VCNS: "The deployment makes one network of its own.",
}


def _judge(ask: Ask, topology: Topology, room: Envelope, sizes: tuple[Size, ...]) -> Plan | Refusal:
    needs = _needs(ask, topology, sizes)
    gaps = _missing(needs, room)
    if gaps:
        return Refusal(topology, tuple(_shortfall(gap, room) for gap in gaps))
    return _plan(ask, topology, room, sizes, _place(needs, room))


def _shortfall(gap: _Gap, room: Envelope) -> Shortfall:
    bound = room.ads[gap.ad][gap.resource] if gap.ad else room.region[gap.resource]
    return Shortfall(
        limit=LABELS[gap.resource],
        scope=f"in {gap.ad}" if gap.ad else "in the region",
        needed=gap.needed,
        available=bound.available,
        source=bound.source,
        why=_WHY[gap.resource],
    )


def _plan(ask: Ask, topology: Topology, room: Envelope, sizes: tuple[Size, ...], way: tuple[str | None, ...]) -> Plan:
    ampere = tuple(
        Machine(f"ampere_{index}", A1_SHAPE, size.ocpus, size.memory_gb, size.boot_volume_gb, ad)
        for index, (size, ad) in enumerate(zip(sizes, way, strict=False), start=1)
    )
    bastion = (Machine("bastion", MICRO_SHAPE, 1, 1, BASTION_BOOT_GB, way[-1]),) if ask.bastion else ()
    ceph = _ceph_space(sizes, ask.ceph_size) if topology == "proxmox-ceph" else None
    control_planes = ask.control_planes or (QUORUM if len(sizes) >= QUORUM else 1)
    addresses = ("ingress", "bastion") if ask.bastion else ("ingress",)
    reserved = addresses[: room.region[Resource.RESERVED_IPS].available]
    return Plan(
        topology=topology,
        machines=(*ampere, *bastion),
        guests=_guests(ampere, ceph, control_planes) if ceph else (),
        control_planes=control_planes,
        ceph=ceph,
        reserved_ips=reserved,
        headroom=_headroom(_needs(ask, topology, sizes), len(reserved), room),
        warnings=_warnings(topology, ampere, reserved, addresses, room),
        allowance=room.allowance,
        live=room.live,
    )


def _ceph_space(sizes: tuple[Size, ...], copies: int) -> CephSpace:
    osds = [size.boot_volume_gb - PROXMOX_ROOT_GB for size in sizes]
    raw = sum(osds)
    usable = math.floor(raw / copies * CEPH_NEARFULL)
    how = (
        f"{len(osds)} OSDs of {min(osds)} GB (boot volume less {PROXMOX_ROOT_GB} GB for the system) = {raw} GB; "
        f"{copies} copies = {raw / copies:g} GB; below the {CEPH_NEARFULL:.0%} near-full mark = {usable} GB"
    )
    return CephSpace(min(osds), raw, copies, usable, how)


def _guests(hosts: tuple[Machine, ...], ceph: CephSpace, control_planes: int) -> tuple[Guest, ...]:
    """One Talos machine a host: all its OCPUs (Proxmox and Ceph share them), the memory they leave over."""
    disk = min(TALOS_DISK_GB, ceph.usable_gb // len(hosts))
    return tuple(
        Guest(
            name=f"talos_{index}",
            host=host.name,
            role="controlplane" if index <= control_planes else "worker",
            vcpus=host.ocpus,
            memory_gb=host.memory_gb - PROXMOX_HOST_MEMORY_GB,
            disk_gb=disk,
        )
        for index, host in enumerate(hosts, start=1)
    )


def _headroom(needs: _Needs, reserved_ips: int, room: Envelope) -> tuple[Headroom, ...]:
    planned = {**needs.regional, Resource.RESERVED_IPS: reserved_ips}
    for machine in needs.machines:
        for resource, amount in machine.takes.items():
            planned[resource] = planned.get(resource, 0) + amount
    shown = (*BOUND_TO_AD, Resource.CUSTOM_IMAGES, Resource.OBJECT_STORAGE_GB, Resource.RESERVED_IPS, Resource.VCNS)
    return tuple(
        Headroom(resource, room.region[resource].available, planned.get(resource, 0), room.region[resource].source)
        for resource in shown
    )


def _warnings(
    topology: Topology,
    ampere: tuple[Machine, ...],
    reserved: tuple[str, ...],
    wanted: tuple[str, ...],
    room: Envelope,
) -> tuple[str, ...]:
    found = []
    if not room.live:
        found.append("Live limits have not been read; the numbers are the allowance's. tenancy/limits reads them.")
    if topology == "proxmox-ceph":
        found.append(
            "A1 machines have no /dev/kvm: Talos runs here in software emulation, several times slower than "
            "topology talos-native. The check `kvm` probes it on the node."
        )
    if len(ampere) == 2:
        found.append("Two nodes: one control plane and one worker. etcd gains no quorum from a second member.")
    if any(machine.ocpus == 1 for machine in ampere):
        found.append("A one-OCPU node is below Talos' recommended two cores for a control plane.")
    found.extend(
        f"No reserved address for the {name}: it gets an ephemeral one, which dies with its instance."
        for name in wanted
        if name not in reserved
    )
    return tuple(found)
