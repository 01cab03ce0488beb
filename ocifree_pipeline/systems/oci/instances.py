"""Instances of a deployment: find them by their tags, read what they are, give them their address."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, PreconditionMissing
from ocifree_pipeline.deployment.sections.images import PlatformImage
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG, Scope
from ocifree_pipeline.systems.oci.session import Session, every, reading
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, wait_for

OVER = frozenset({"TERMINATING", "TERMINATED"})
ADDRESS_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Card:
    """The network card of an instance."""

    vnic: str
    private_ip_id: str
    private_ip: str
    public_ip: str | None


def find_ours(scope: Scope, key: str) -> Any | None:
    """The instance that carries our tags for this machine. Two of them are a matter for a person, never for us."""
    with told(f"look for the instance of {key}"):
        instances = every(scope.session.client("core.ComputeClient").list_instances, scope.inside)
    found = [
        one
        for one in instances
        if scope.is_ours(one) and one.freeform_tags.get(ROLE_TAG) == key and one.lifecycle_state not in OVER
    ]
    if len(found) > 1:
        names = " and ".join(f"{one.display_name} ({one.id}, {one.lifecycle_state})" for one in found)
        raise Conflict(
            f"{len(found)} instances carry the tags of {key}: {names}",
            why="each may hold what you need, and capacity for another may never come; so none is ended by itself",
            fix=f"end the one you do not need, or take the freeform tag {ROLE_TAG} off it: "
            "oci compute instance update --instance-id OCID --freeform-tags '{}'",
        )
    return found[0] if found else None


def read(session: Session, instance: str) -> Any:
    with told("read an instance"):
        return session.client("core.ComputeClient").get_instance(instance, retry_strategy=reading()).data


def lifecycles(scope: Scope) -> dict[str, str]:
    """The lifecycle of every instance of the deployment, by its OCID."""
    with told("list the instances of the deployment"):
        found = every(scope.session.client("core.ComputeClient").list_instances, scope.inside)
    return {str(one.id): str(one.lifecycle_state) for one in found if scope.is_ours(one)}


def lifecycle_of(session: Session, instance: str) -> str | None:
    """The lifecycle of one instance; None when Oracle does not know it any more."""
    from oci.exceptions import ServiceError

    with told("look for an instance"):
        try:
            found = session.client("core.ComputeClient").get_instance(instance, retry_strategy=reading()).data
        except ServiceError as error:
            if error.status != 404:
                raise
            return None
    return str(found.lifecycle_state)


def card_of(scope: Scope, instance: Any) -> Card:
    """The primary card, waited for: it is attached a moment after the instance appears."""
    compute = scope.session.client("core.ComputeClient")
    network = scope.session.client("core.VirtualNetworkClient")
    with told(f"read the network card of {instance.display_name}"):
        for attachment in every(compute.list_vnic_attachments, instance.compartment_id, instance_id=instance.id):
            if attachment.lifecycle_state != "ATTACHED" or not attachment.vnic_id:
                continue
            vnic = network.get_vnic(attachment.vnic_id, retry_strategy=reading()).data
            if not vnic.is_primary:
                continue
            addresses = every(network.list_private_ips, vnic_id=vnic.id)
            primary = next(address for address in addresses if address.is_primary)
            return Card(vnic.id, primary.id, primary.ip_address, vnic.public_ip)
    raise NotVerified(
        f"{instance.display_name} has no network card",
        why=f"Oracle lists none that is attached to {instance.id}",
        fix="look at the instance in Oracle's console; it cannot be reached like this",
    )


def give_address(scope: Scope, card: Card, reserved: str, *, clock: Clock = time) -> bool:
    """Point a reserved address at the card; whether anything had to be done. An ephemeral one has to go first."""
    from oci.core import models

    network = scope.session.client("core.VirtualNetworkClient")
    with told("read the reserved address"):
        address = network.get_public_ip(reserved, retry_strategy=reading()).data
    is_there = address.assigned_entity_id == card.private_ip_id
    if address.assigned_entity_id and not is_there:
        raise Conflict(
            f"the reserved address {address.ip_address} is in use by {address.assigned_entity_id}",
            why="it was assigned to something else",
            fix="take it off there in Oracle's console, then materialize this asset again",
        )
    if not is_there:
        if card.public_ip is not None:
            _free_the_card(network, card)
        with told(f"assign {address.ip_address}"):
            network.update_public_ip(reserved, models.UpdatePublicIpDetails(private_ip_id=card.private_ip_id))

    def look() -> Any:
        with told("read the reserved address"):
            return network.get_public_ip(reserved, retry_strategy=reading()).data

    wait_for(
        look,
        lambda seen: seen.lifecycle_state == "ASSIGNED" and seen.assigned_entity_id == card.private_ip_id,
        what=f"{address.ip_address} is assigned",
        timeout=ADDRESS_SECONDS,
        pause=Pause(1, 5),
        clock=clock,
    )
    return not is_there


def _free_the_card(network: Any, card: Card) -> None:
    from oci.core import models
    from oci.exceptions import ServiceError

    with told("read the address of the network card"):
        try:
            by_card = models.GetPublicIpByPrivateIpIdDetails(private_ip_id=card.private_ip_id)
            standing = network.get_public_ip_by_private_ip_id(by_card, retry_strategy=reading()).data
        except ServiceError as error:
            if error.status != 404:
                raise
            return
    if standing.lifetime == "EPHEMERAL":
        with told("give up the ephemeral address"):
            network.delete_public_ip(standing.id)


def drop_metadata(session: Session, instance: Any, entry: str) -> bool:
    """Take one entry out of an instance's metadata. User data and keys must be sent back as they are, or Oracle
    refuses."""
    from oci.core import models

    kept = {name: value for name, value in (instance.metadata or {}).items() if name != entry}
    if len(kept) == len(instance.metadata or {}):
        return False
    client = session.client("core.ComputeClient")
    with told(f"remove {entry} from the metadata of {instance.display_name}"):
        client.update_instance(instance.id, models.UpdateInstanceDetails(metadata=kept))
    if entry in (read(session, instance.id).metadata or {}):
        raise NotVerified(
            f"{entry} is still in the metadata of {instance.display_name}",
            why="Oracle took the update and shows the old metadata",
            fix="remove it in Oracle's console; whoever can log in there can read it",
        )
    return True


def platform_image(scope: Scope, wanted: PlatformImage, shape: str) -> str:
    """The newest of Oracle's own images that runs on the shape."""
    client = scope.session.client("core.ComputeClient")
    with told("list Oracle's images"):
        found = client.list_images(
            scope.session.tenancy,
            operating_system=wanted.operating_system,
            operating_system_version=wanted.version,
            shape=shape,
            sort_by="TIMECREATED",
            sort_order="DESC",
            limit=1,
            retry_strategy=reading(),
        ).data
    if not found:
        raise PreconditionMissing(
            f"Oracle offers no {wanted.operating_system} {wanted.version} for {shape}",
            why="no image of that name and version runs on the shape",
            fix="write another version under `images`: oci compute image list --compartment-id TENANCY --shape "
            + shape,
        )
    return str(found[0].id)
