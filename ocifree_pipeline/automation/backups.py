"""The backups of etcd that are kept, one of them opened, and what of it can be compared with objects that live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.assets.etcd_backup import FOLDER
from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import BucketFacts

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.api import Api
    from ocifree_pipeline.systems.talos.backups import Backup

BACKUP = "assurance/etcd_backup"
BUCKET = "oci/image_bucket"
KINDS: Mapping[tuple[str, str], str] = {
    ("v1", "Namespace"): "namespaces",
    ("v1", "Node"): "minions",
    ("v1", "Secret"): "secrets",
    ("v1", "ConfigMap"): "configmaps",
    ("v1", "Service"): "services/specs",
    ("v1", "ServiceAccount"): "serviceaccounts",
    ("apps/v1", "Deployment"): "deployments",
    ("apps/v1", "DaemonSet"): "daemonsets",
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): "apiextensions.k8s.io/customresourcedefinitions",
}
"""What is compared, and under which key Kubernetes keeps it. What comes and goes by itself is not among it."""
IDENTITY = "/registry/namespaces/kube-system"


def kept(step: Step) -> tuple[Backup, ...]:
    """Oldest first."""
    from ocifree_pipeline.systems.oci.objects import Place, objects_under
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.talos.backups import backups_in

    bucket = step.facts(BUCKET, BucketFacts)
    session = session_for(step.blueprint.declaration.site)
    return backups_in(objects_under(session, Place(bucket.namespace, bucket.bucket, FOLDER)))


def chosen(step: Step, wanted: str) -> Backup:
    """The newest, or the one whose name begins like that."""
    found = kept(step)
    if not found:
        raise PreconditionMissing(
            "there is no backup of etcd", why=f"{FOLDER} holds none", fix=f"ocifree up --select '{BACKUP}'"
        )
    fitting = [one for one in found if one.short.startswith(wanted)]
    if not wanted:
        return found[-1]
    if len(fitting) != 1:
        raise PreconditionMissing(
            f"{len(fitting) or 'no'} backups have a name that begins with {wanted}",
            why=f"these are kept: {', '.join(one.short for one in reversed(found))}",
            fix="`ocifree restore --list` shows them; give the beginning of one name",
        )
    return fitting[0]


def opened(step: Step, backup: Backup, directory: Path) -> Path:
    """The backup as etcd's file, in this folder of ours alone."""
    from ocifree_pipeline.systems.oci.objects import Place, fetch_object
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos.backups import unseal

    bucket = step.facts(BUCKET, BucketFacts)
    sealed, plain = directory / "etcd.age", directory / "etcd.db"
    step.say(f"fetch {backup.name} and open it")
    place = Place(bucket.namespace, bucket.bucket, backup.name)
    fetch_object(session_for(step.blueprint.declaration.site), place, sealed)
    size = unseal(sealed, plain, backup.name, vault_of(step.blueprint.declaration.name).identity)
    step.say(f"{size} bytes, whole by their own digest")
    return plain


def objects_in(plain: Path) -> dict[str, bytes]:
    """The keys of Kubernetes in a file of etcd."""
    from ocifree_pipeline.systems.talos.etcd_file import keys_in

    return {key: value for key, value in keys_in(plain).items() if key.startswith("/registry/")}


def living(api: Api) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects that live now, under the keys that etcd has for them."""
    for (version, kind), folder in KINDS.items():
        for one in api.list(api.require(version, kind)):
            metadata = one["metadata"]
            where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
            yield f"/registry/{folder}/{where}{metadata['name']}", one


def is_it(kube_system: Mapping[str, Any] | None, stored: bytes) -> bool:
    """Whether a cluster with this namespace kube-system is the one in the backup."""
    uid = str((kube_system or {}).get("metadata", {}).get("uid", ""))
    return bool(uid) and uid.encode() in stored
