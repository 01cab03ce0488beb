"""Read what this tenancy may use, uses, and what of that is ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import AuthFailed, Refused
from ocifree_pipeline.deployment.limits import Counts
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE
from ocifree_pipeline.systems.oci.errors import ClockWrong, told
from ocifree_pipeline.systems.oci.session import Session, every, reading

DEPLOYMENT_TAG = "ocifree-deployment"
"""The freeform tag by which everything a deployment made is found again."""

_GIGA = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Limit:
    """One of Oracle's limit names, and how it counts in ours."""

    service: str
    name: str
    resource: Resource
    per_ad: bool
    divide: int = 1


_LIMITS = (
    _Limit("compute", "standard-a1-core-count", Resource.A1_OCPUS, per_ad=True),
    _Limit("compute", "standard-a1-core-regional-count", Resource.A1_OCPUS, per_ad=False),
    _Limit("compute", "standard-a1-memory-count", Resource.A1_MEMORY_GB, per_ad=True),
    _Limit("compute", "standard-a1-memory-regional-count", Resource.A1_MEMORY_GB, per_ad=False),
    _Limit("compute", "standard-e2-micro-core-count", Resource.MICRO_INSTANCES, per_ad=True),
    _Limit("compute", "custom-image-count", Resource.CUSTOM_IMAGES, per_ad=False),
    _Limit("block-storage", "total-storage-gb", Resource.BLOCK_STORAGE_GB, per_ad=True),
    _Limit("block-storage", "backup-count", Resource.VOLUME_BACKUPS, per_ad=False),
    _Limit("object-storage", "storage-bytes", Resource.OBJECT_STORAGE_GB, per_ad=False, divide=_GIGA),
    _Limit("vcn", "vcn-count", Resource.VCNS, per_ad=False),
    _Limit("vcn", "reserved-public-ip-count", Resource.RESERVED_IPS, per_ad=False),
    _Limit("vcn", "nat-gateway-count", Resource.NAT_GATEWAYS, per_ad=False),
    _Limit("load-balancer", "lb-flexible-count", Resource.LOAD_BALANCERS, per_ad=False),
    _Limit("network-load-balancer-api", "network-load-balancer-count", Resource.NETWORK_LOAD_BALANCERS, per_ad=False),
)


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What was read, before any judgement."""

    name: str
    home_region: str
    availability_domains: tuple[str, ...]
    limits: Counts
    used: Counts
    ours: Counts

    @property
    def used_by_others(self) -> Counts:
        return _minus(self.used, self.ours)


def read_tenancy(session: Session, declaration: Declaration) -> Tenancy:
    """Home region, availability domains, limits, use. Reads only."""
    identity = session.client("identity.IdentityClient")
    with _right_region(session), told("read the tenancy"):
        tenancy = identity.get_tenancy(session.tenancy, retry_strategy=reading()).data
        home = next(
            region.region_name
            for region in every(identity.list_region_subscriptions, session.tenancy)
            if region.is_home_region
        )
        ads = tuple(ad.name for ad in every(identity.list_availability_domains, session.tenancy))
    if home != session.region:
        raise Refused(
            f"{session.region} is not the home region of this tenancy; that is {home}",
            why="Always Free resources exist in the home region only; anywhere else they are billed",
            fix=f"write `region: {home}` under `site` in the declaration",
        )
    limits, used = _limits_and_use(session, ads)
    for ad in ads:
        if A1_SHAPE not in _shapes_in(session, ad):
            limits = _without_a1(limits, ad)
    return Tenancy(tenancy.name, home, ads, limits, used, _ours(session, declaration, ads))


def _shapes_in(session: Session, ad: str) -> set[str]:
    """A limit says how many, not whether: some domains, and some regions, have no A1 at all."""
    compute = session.client("core.ComputeClient")
    with told(f"list the shapes of {ad}"):
        return {one.shape for one in every(compute.list_shapes, session.tenancy, availability_domain=ad)}


def _without_a1(limits: Counts, ad: str) -> Counts:
    none: dict[Resource, int] = {Resource.A1_OCPUS: 0, Resource.A1_MEMORY_GB: 0}
    return Counts(limits.regional, {**limits.per_ad, ad: {**limits.per_ad.get(ad, {}), **none}})


@contextmanager
def _right_region(session: Session) -> Iterator[None]:
    """A region that the tenancy is not subscribed to knows none of its keys, and does not say why."""
    try:
        yield
    except ClockWrong:
        raise
    except AuthFailed as error:
        if session.profile_region in (None, session.region):
            raise
        raise AuthFailed(
            error.what,
            why=f"the declaration says {session.region} and the profile of the credentials {session.profile_region}; a "
            "region that the tenancy is not subscribed to knows none of its keys",
            fix=f"write `region: {session.profile_region}` under `site` if that is the home region; "
            "`ocifree doctor` checks the key itself",
        ) from error


def _limits_and_use(session: Session, ads: tuple[str, ...]) -> tuple[Counts, Counts]:
    client = session.client("limits.LimitsClient")
    limits, used = _Tally(), _Tally()
    for service in dict.fromkeys(limit.service for limit in _LIMITS):
        with told(f"read the limits of {service}"):
            values = every(client.list_limit_values, session.tenancy, service_name=service)
        for limit in _LIMITS:
            if limit.service != service:
                continue
            for value in values:
                if value.name != limit.name:
                    continue
                ad = value.availability_domain if limit.per_ad else None
                limits.set(limit.resource, ad, int(value.value or 0) // limit.divide)
                used.set(limit.resource, ad, _in_use(client, session.tenancy, limit, ad))
    return limits.counts(), used.counts()


def _in_use(client: Any, tenancy: str, limit: _Limit, ad: str | None) -> int:
    where = {"availability_domain": ad} if ad else {}
    with told(f"read the use of {limit.name}"):
        found = client.get_resource_availability(
            limit.service, limit.name, tenancy, retry_strategy=reading(), **where
        ).data
    # Some limits have no usage at Oracle; the number is then absent, and their use is counted where it is made.
    return -(-int(found.used or 0) // limit.divide)


def _ours(session: Session, declaration: Declaration, ads: tuple[str, ...]) -> Counts:
    """What this deployment already has: it must not stand in its own way when the plan is solved again."""
    compartment = find_compartment(session, declaration)
    if compartment is None:
        return Counts()
    compute = session.client("core.ComputeClient")
    block = session.client("core.BlockstorageClient")
    ours = _Tally()
    with told("list the instances of this deployment"):
        instances = [
            one
            for one in every(compute.list_instances, compartment)
            if _is_ours(one, declaration) and one.lifecycle_state not in ("TERMINATED", "TERMINATING")
        ]
    for instance in instances:
        ad = instance.availability_domain
        if instance.shape == A1_SHAPE:
            ours.add(Resource.A1_OCPUS, ad, int(instance.shape_config.ocpus))
            ours.add(Resource.A1_MEMORY_GB, ad, int(instance.shape_config.memory_in_gbs))
        elif instance.shape == MICRO_SHAPE:
            ours.add(Resource.MICRO_INSTANCES, ad, 1)
    their_volumes = _boot_volumes_of(compute, instances, compartment)
    with told("list the boot volumes of this deployment"):
        for ad in ads:
            for volume in every(block.list_boot_volumes, availability_domain=ad, compartment_id=compartment):
                is_ours = _is_ours(volume, declaration) or volume.id in their_volumes
                if is_ours and volume.lifecycle_state not in ("TERMINATED", "TERMINATING"):
                    ours.add(Resource.BLOCK_STORAGE_GB, ad, int(volume.size_in_gbs))
    _count_network(session, declaration, compartment, ours)
    _count_images(session, declaration, compartment, ours)
    return ours.counts()


def _boot_volumes_of(compute: Any, instances: Sequence[Any], compartment: str) -> set[str]:
    """Oracle makes the volume of an instance without tags; they are given to it only after the launch."""
    known = {instance.id for instance in instances}
    with told("list the disks of the instances of this deployment"):
        return {
            str(one.boot_volume_id)
            for ad in {instance.availability_domain for instance in instances}
            for one in every(compute.list_boot_volume_attachments, ad, compartment)
            if one.instance_id in known
        }


def _count_network(session: Session, declaration: Declaration, compartment: str, ours: _Tally) -> None:
    network = session.client("core.VirtualNetworkClient")
    with told("list the network of this deployment"):
        found = (
            (Resource.VCNS, every(network.list_vcns, compartment)),
            (Resource.NAT_GATEWAYS, every(network.list_nat_gateways, compartment)),
            (Resource.RESERVED_IPS, every(network.list_public_ips, "REGION", compartment, lifetime="RESERVED")),
        )
    for resource, things in found:
        for thing in things:
            if _is_ours(thing, declaration) and thing.lifecycle_state not in ("TERMINATED", "TERMINATING"):
                ours.add(resource, None, 1)


def _count_images(session: Session, declaration: Declaration, compartment: str, ours: _Tally) -> None:
    """Our custom images, and what our buckets hold: an upload that broke off must not stand in its own way."""
    compute, store = session.client("core.ComputeClient"), session.client("object_storage.ObjectStorageClient")
    with told("list the custom images of this deployment"):
        for image in every(compute.list_images, compartment):
            if _is_ours(image, declaration) and image.lifecycle_state != "DELETED":
                ours.add(Resource.CUSTOM_IMAGES, None, 1)
    stored = 0
    with told("list the buckets of this deployment"):
        namespace = store.get_namespace(retry_strategy=reading()).data
        buckets = every(store.list_buckets, namespace, compartment, fields=["tags"])
    for bucket in buckets:
        if _is_ours(bucket, declaration):
            with told(f"measure the bucket {bucket.name}"):
                stored += _bytes_in(store, namespace, bucket.name)
    ours.add(Resource.OBJECT_STORAGE_GB, None, -(-stored // _GIGA))


def _bytes_in(store: Any, namespace: str, bucket: str) -> int:
    """Objects, and the parts of uploads that were neither finished nor given up."""
    total = 0
    start: str | None = ""
    while start is not None:
        page = store.list_objects(namespace, bucket, fields="size", start=start, retry_strategy=reading()).data
        total += sum(int(one.size or 0) for one in page.objects)
        start = page.next_start_with
    for upload in every(store.list_multipart_uploads, namespace, bucket):
        parts = every(store.list_multipart_upload_parts, namespace, bucket, upload.object, upload.upload_id)
        total += sum(int(one.size or 0) for one in parts)
    return total


def find_compartment(session: Session, declaration: Declaration) -> str | None:
    """The OCID of the deployment's compartment, or None before it is made."""
    name = declaration.site.compartment or declaration.name
    with told("look for the compartment"):
        for found in every(session.client("identity.IdentityClient").list_compartments, session.tenancy, name=name):
            if found.name == name and found.lifecycle_state == "ACTIVE":
                return str(found.id)
    return None


def _is_ours(thing: Any, declaration: Declaration) -> bool:
    return (thing.freeform_tags or {}).get(DEPLOYMENT_TAG) == declaration.name


class _Tally:
    """Counts while they are being collected."""

    def __init__(self) -> None:
        self._regional: dict[Resource, int] = {}
        self._per_ad: dict[str, dict[Resource, int]] = defaultdict(dict)

    def _where(self, ad: str | None) -> dict[Resource, int]:
        return self._regional if ad is None else self._per_ad[ad]

    def set(self, resource: Resource, ad: str | None, number: int) -> None:
        self._where(ad)[resource] = number

    def add(self, resource: Resource, ad: str | None, number: int) -> None:
        self._where(ad)[resource] = self._where(ad).get(resource, 0) + number

    def counts(self) -> Counts:
        return Counts(self._regional, dict(self._per_ad))


def _minus(used: Counts, ours: Counts) -> Counts:
    def less(left: Mapping[Resource, int], right: Mapping[Resource, int]) -> dict[Resource, int]:
        return {resource: max(0, number - right.get(resource, 0)) for resource, number in left.items()}

    regional_ours = {resource: ours.in_region(resource) for resource in used.regional}
    return Counts(
        regional=less(used.regional, regional_ours),
        per_ad={ad: less(numbers, ours.per_ad.get(ad, {})) for ad, numbers in used.per_ad.items()},
    )
