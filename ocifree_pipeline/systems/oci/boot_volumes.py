"""Boot volumes: they count against the free storage, and one that is left behind blocks the next launch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG, Scope
from ocifree_pipeline.systems.oci.session import every, reading


@dataclass(frozen=True, slots=True)
class Orphan:
    """A boot volume of ours that hangs on no instance."""

    id: str
    name: str
    ad: str
    size_gb: int

    def __str__(self) -> str:
        return f"{self.name}, {self.size_gb} GB in {self.ad.rpartition(':')[2]} ({self.id})"


def volume_of(scope: Scope, instance: Any) -> Any:
    """The boot volume of a running instance."""
    compute = scope.session.client("core.ComputeClient")
    block = scope.session.client("core.BlockstorageClient")
    with told(f"read the boot volume of {instance.display_name}"):
        attachments = every(
            compute.list_boot_volume_attachments,
            instance.availability_domain,
            instance.compartment_id,
            instance_id=instance.id,
        )
        ids = [one.boot_volume_id for one in attachments if one.lifecycle_state in ("ATTACHED", "ATTACHING")]
        if not ids:
            raise NotVerified(
                f"{instance.display_name} has no boot volume",
                why=f"Oracle lists none that is attached to {instance.id}",
                fix="look at the instance in Oracle's console; it cannot start like this",
            )
        return block.get_boot_volume(ids[0], retry_strategy=reading()).data


def mark(scope: Scope, volume: Any, key: str) -> bool:
    """Put our tags on it: Oracle does not pass on those of the instance. Whether anything had to be done."""
    from oci.core import models

    wanted = {**(volume.freeform_tags or {}), **scope.tags(key)}
    if wanted == (volume.freeform_tags or {}):
        return False
    with told(f"tag the boot volume of {key}"):
        scope.session.client("core.BlockstorageClient").update_boot_volume(
            volume.id, models.UpdateBootVolumeDetails(freeform_tags=wanted)
        )
    return True


def orphans(scope: Scope, key: str, ads: Iterable[str]) -> list[Orphan]:
    """Volumes with our tags for this machine that no instance uses."""
    compute = scope.session.client("core.ComputeClient")
    block = scope.session.client("core.BlockstorageClient")
    found = []
    with told("look for boot volumes that were left behind"):
        for ad in ads:
            volumes = [
                one
                for one in every(block.list_boot_volumes, availability_domain=ad, compartment_id=scope.inside)
                if scope.is_ours(one) and one.freeform_tags.get(ROLE_TAG) == key and one.lifecycle_state == "AVAILABLE"
            ]
            if not volumes:
                continue
            in_use = {
                one.boot_volume_id
                for one in every(compute.list_boot_volume_attachments, ad, scope.inside)
                if one.lifecycle_state != "DETACHED"
            }
            found += [
                Orphan(one.id, one.display_name, ad, int(one.size_in_gbs)) for one in volumes if one.id not in in_use
            ]
    return found


def remove(scope: Scope, orphan: Orphan) -> None:
    with told(f"remove the boot volume {orphan.name}"):
        scope.session.client("core.BlockstorageClient").delete_boot_volume(orphan.id)
