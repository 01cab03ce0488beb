"""What restore_drill does: the newest backup of etcd is fetched and opened, and compared with what lives.

No etcd is started with it: that needs a cluster to spare. What is proved is all that a restore takes from us: the key
opens it, it is whole, it is the file of this cluster's etcd, and every object of its time is in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ocifree_pipeline.assets.etcd_backup import FOLDER
from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing
from ocifree_pipeline.record.assurance import DRILL
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import BucketFacts
from ocifree_pipeline.record.platform import cluster_api

if TYPE_CHECKING:
    from ocifree_pipeline.systems.talos.backups import Backup

BACKUP = "assurance/etcd_backup"
AGAIN = "dagster job execute -m ocifree_pipeline.definitions -j restore_drill"
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
SHOWN = 5


def restore_drill(step: Step) -> str:
    from ocifree_pipeline.systems.talos.etcd_file import keys_in

    with tempfile.TemporaryDirectory(prefix="ocifree-drill-") as directory:
        newest, plain = _opened(step, Path(directory))
        kept = keys_in(plain)
    kept = {key: value for key, value in kept.items() if key.startswith("/registry/")}
    live = list(_live(step))
    uid = next((one["metadata"]["uid"] for key, one in live if key == IDENTITY), "")
    if not uid or uid.encode() not in kept.get(IDENTITY, b""):
        raise NotVerified(
            f"{newest.name} is not of this cluster",
            why="its namespace kube-system is another than the one that lives, or it has none",
            fix="look which cluster wrote into this bucket before; `ocifree up --select 'assurance/etcd_backup'`",
        )
    older = [key for key, one in live if _made(one) < newest.at]
    if not older:
        raise NotVerified(
            f"nothing can be compared with {newest.name}",
            why="every object that lives is younger than it",
            fix="`ocifree up --select 'assurance/etcd_backup'` when the next is due; then the drill again",
        )
    missing = [key for key in older if not kept.get(key)]
    if missing:
        raise NotVerified(
            f"{len(missing)} objects that are older than {newest.name} are not in it",
            why=", ".join(missing[:SHOWN]),
            fix="take another: `ocifree up --select 'assurance/etcd_backup'`; then the drill again",
        )
    said = (
        f"{newest.name} opens with the key of the vault, is whole, and holds {len(kept)} keys; all {len(older)} "
        "objects of its time that were compared are among them"
    )
    _record(step, newest, said, len(kept), len(older))
    return said


def _opened(step: Step, directory: Path) -> tuple[Backup, Path]:
    from ocifree_pipeline.systems.oci.objects import Place, fetch_object, objects_under
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos import backups

    bucket = step.facts("oci/image_bucket", BucketFacts)
    session = session_for(step.blueprint.declaration.site)
    kept = backups.backups_in(objects_under(session, Place(bucket.namespace, bucket.bucket, FOLDER)))
    if not kept:
        raise PreconditionMissing(
            "there is no backup of etcd", why=f"{FOLDER} holds none", fix=f"ocifree up --select '{BACKUP}'"
        )
    sealed, plain = directory / "etcd.age", directory / "etcd.db"
    step.say(f"fetch {kept[-1].name} and open it")
    fetch_object(session, Place(bucket.namespace, bucket.bucket, kept[-1].name), sealed)
    size = backups.unseal(sealed, plain, kept[-1].name, vault_of(step.blueprint.declaration.name).identity)
    step.say(f"{size} bytes, whole by their own digest")
    return kept[-1], plain


def _live(step: Step) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects that live now, under the keys that etcd has for them."""
    with cluster_api(step) as api:
        for (version, kind), folder in KINDS.items():
            for one in api.list(api.require(version, kind)):
                metadata = one["metadata"]
                where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
                yield f"/registry/{folder}/{where}{metadata['name']}", one


def _made(thing: Mapping[str, Any]) -> datetime:
    return datetime.strptime(thing["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _record(step: Step, newest: Backup, said: str, keys: int, compared: int) -> None:
    step.instance.report_runless_asset_event(
        dg.AssetObservation(
            BACKUP.split("/"),
            description=said,
            metadata={
                DRILL: dg.MetadataValue.text(newest.name),
                "summary": dg.MetadataValue.text(said),
                "keys": dg.MetadataValue.int(keys),
                "compared": dg.MetadataValue.int(compared),
            },
        )
    )
