"""Everything in the tenancy that can cost money, whoever made it, as it stands now. Reads only.

What was planned to be free is one thing; this is what is there. It is counted from the resources themselves, because
Oracle's Limits API leaves some of them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocifree_pipeline.deployment.pricing import Item
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.bucket import namespace_of
from ocifree_pipeline.systems.oci.foundation.kinds import ENDED, GONE
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG
from ocifree_pipeline.systems.oci.session import Session, every, reading

_GIGA = 1_000_000_000
_COMPUTE = "core.ComputeClient"
_BLOCK = "core.BlockstorageClient"
_NETWORK = "core.VirtualNetworkClient"


@dataclass(frozen=True, slots=True)
class Thing:
    """One resource. `item` is how it is priced; `owner` the deployment that made it, if one did."""

    item: Item
    id: str
    compartment: str
    state: str
    owner: str | None = None

    @property
    def is_ending(self) -> bool:
        return self.state in GONE

    def __str__(self) -> str:
        return f"{self.item.kind.replace('_', ' ')} {self.item.name} ({self.id})"


@dataclass(frozen=True, slots=True)
class _Source:
    """How one kind is listed and described."""

    kind: str
    list: Callable[[Session, str], Sequence[Any]]
    attributes: Callable[[Any], Mapping[str, object]] = field(default=lambda thing: {})
    name_field: str = "display_name"


def compartments(session: Session) -> tuple[str, ...]:
    """The root compartment and all that are active below it."""
    with told("list the compartments"):
        below = every(
            session.client("identity.IdentityClient").list_compartments,
            session.tenancy,
            compartment_id_in_subtree=True,
            access_level="ANY",
        )
    return (session.tenancy, *(one.id for one in below if one.lifecycle_state == "ACTIVE"))


def inventory(session: Session) -> tuple[Thing, ...]:
    """All that stands or is on its way out, in all compartments of the tenancy."""
    return tuple(
        thing for place in compartments(session) for source in _SOURCES for thing in _things(session, source, place)
    )


def items_of(things: Sequence[Thing]) -> tuple[Item, ...]:
    """For pricing: what is not ending, and the bytes of all buckets as one, for what is free of them is a sum."""
    standing = [thing.item for thing in things if not thing.is_ending]
    sizes = [item.attributes.get("bytes") for item in standing if item.kind == "bucket"]
    if not sizes:
        return tuple(standing)
    known = [size for size in sizes if isinstance(size, int)]
    total = {"size_gb": sum(known) / _GIGA} if len(known) == len(sizes) else {}
    return (*standing, Item("object", f"objects in {len(sizes)} bucket{'s' if len(sizes) != 1 else ''}", total))


def _things(session: Session, source: _Source, place: str) -> Iterator[Thing]:
    with told(f"list every {source.kind.replace('_', ' ')}"):
        found = source.list(session, place)
    for one in found:
        state = getattr(one, "lifecycle_state", None) or "AVAILABLE"
        if state in ENDED:
            continue
        name = str(getattr(one, source.name_field))
        yield Thing(
            item=Item(source.kind, name, source.attributes(one)),
            id=getattr(one, "id", None) or name,
            compartment=place,
            state=state,
            owner=(getattr(one, "freeform_tags", None) or {}).get(DEPLOYMENT_TAG),
        )


def _instance(one: Any) -> Mapping[str, object]:
    # Boot volumes are listed by themselves: one that was left behind counts as much as one in use.
    size = one.shape_config
    return {
        "shape": one.shape,
        "ocpus": size.ocpus if size else None,
        "memory_gb": size.memory_in_gbs if size else None,
        "boot_volume_gb": 0,
    }


def _volume(one: Any) -> Mapping[str, object]:
    return {"size_gb": one.size_in_gbs, "vpus_per_gb": one.vpus_per_gb}


def _load_balancer(one: Any) -> Mapping[str, object]:
    bandwidth = one.shape_details
    return {
        "shape": one.shape_name,
        "minimum_mbps": bandwidth.minimum_bandwidth_in_mbps if bandwidth else None,
        "maximum_mbps": bandwidth.maximum_bandwidth_in_mbps if bandwidth else None,
    }


def _bucket(one: Any) -> Mapping[str, object]:
    return {
        "storage_tier": one.storage_tier,
        "versioning": one.versioning,
        "auto_tiering": one.auto_tiering or "Disabled",
        "bytes": one.approximate_size,
        "objects": one.approximate_count,
    }


def _listed(client: str, operation: str, **more: Any) -> Callable[[Session, str], Sequence[Any]]:
    return lambda session, place: every(getattr(session.client(client), operation), compartment_id=place, **more)


def _custom_images(session: Session, place: str) -> Sequence[Any]:
    # Oracle's own images are listed in every compartment, and are in none.
    return [one for one in _listed(_COMPUTE, "list_images")(session, place) if one.compartment_id]


def _reserved_ips(session: Session, place: str) -> Sequence[Any]:
    return every(session.client(_NETWORK).list_public_ips, "REGION", place, lifetime="RESERVED")


def _buckets(session: Session, place: str) -> Sequence[Any]:
    client, namespace = session.client("object_storage.ObjectStorageClient"), namespace_of(session)
    wanted = ["approximateCount", "approximateSize", "autoTiering"]
    return [
        client.get_bucket(namespace, one.name, fields=wanted, retry_strategy=reading()).data
        for one in every(client.list_buckets, namespace, place)
    ]


_SOURCES = (
    _Source("instance", _listed(_COMPUTE, "list_instances"), _instance),
    _Source("volume", _listed(_BLOCK, "list_boot_volumes"), _volume),
    _Source("volume", _listed(_BLOCK, "list_volumes"), _volume),
    _Source("volume_backup", _listed(_BLOCK, "list_boot_volume_backups")),
    _Source("volume_backup", _listed(_BLOCK, "list_volume_backups")),
    _Source("custom_image", _custom_images),
    _Source("load_balancer", _listed("load_balancer.LoadBalancerClient", "list_load_balancers"), _load_balancer),
    _Source(
        "network_load_balancer",
        _listed("network_load_balancer.NetworkLoadBalancerClient", "list_network_load_balancers"),
    ),
    _Source("vcn", _listed(_NETWORK, "list_vcns")),
    _Source("nat_gateway", _listed(_NETWORK, "list_nat_gateways")),
    _Source("reserved_ip", _reserved_ips, lambda one: {"lifetime": one.lifetime}),
    _Source("bucket", _buckets, _bucket, "name"),
    _Source("dns_zone", _listed("dns.DnsClient", "list_zones"), name_field="name"),
)
