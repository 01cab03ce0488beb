"""assurance/etcd_backup: what is in the cluster, sealed and somewhere else."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.allowances import Resource, allowance
from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.record.cluster import nodes_of
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import BucketFacts
from ocifree_pipeline.record.outcome import Facts, Outcome
from ocifree_pipeline.record.talos import now

if TYPE_CHECKING:
    from ocifree_pipeline.systems.oci.objects import Place
    from ocifree_pipeline.systems.oci.session import Session

FOLDER = "etcd/"


class BackupFacts(Facts):
    """assurance/etcd_backup: the newest backup, and for whom it is sealed: the holder of the vault's key."""

    newest: str
    at: datetime
    sha256: str
    recipient: str
    kept: int


def materialize_backup(step: Step) -> Outcome:
    """A snapshot a day is enough: a younger one that is there and whole is left alone."""
    from ocifree_pipeline.systems.oci.objects import Place, delete_object, find_object, objects_under
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.talos import backups

    bucket = step.facts("oci/image_bucket", BucketFacts)
    session = session_for(step.blueprint.declaration.site)
    folder = Place(bucket.namespace, bucket.bucket, FOLDER)
    moment, lines = now(), []
    if backups.is_due(backups.backups_in(objects_under(session, folder)), moment):
        lines.append("take a snapshot of etcd, seal it and upload it")
        step.say(lines[-1])
        _take(step, session, folder, moment)
    kept = backups.backups_in(objects_under(session, folder))
    for older in backups.outlived(kept, moment):
        lines.append(f"remove the backup of {older.at:%Y-%m-%d}")
        delete_object(session, Place(bucket.namespace, bucket.bucket, older.name))
    kept = backups.backups_in(objects_under(session, folder))
    stored = find_object(session, Place(bucket.namespace, bucket.bucket, kept[-1].name)) if kept else None
    if stored is None:
        raise NotVerified("there is no backup of etcd", why=f"{folder} holds none", fix="materialize this asset again")
    hours = (moment - kept[-1].at).total_seconds() / 3600
    return Outcome(
        summary=f"{len(kept)} backups, the newest of {kept[-1].at:%Y-%m-%d %H:%M} UTC with {stored.size} bytes",
        facts=BackupFacts(
            newest=kept[-1].name, at=kept[-1].at, sha256=stored.sha256, recipient=_recipient(step), kept=len(kept)
        ),
        plan=tuple(lines),
        numbers={"backups": len(kept), "bytes": stored.size, "hours old": round(hours, 1)},
        evidence=[{"backup": one.name, "taken": f"{one.at:%Y-%m-%d %H:%M} UTC"} for one in reversed(kept)],
        look_inside=f"oci os object list --bucket-name {bucket.bucket} --prefix {FOLDER}",
    )


def ensure_fresh(step: Step, within: timedelta) -> str:
    """The name of a backup that is younger than that and lies in the bucket; one is taken if there is none."""
    from ocifree_pipeline.systems.oci.objects import Place, find_object, objects_under
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.talos import backups

    bucket = step.facts("oci/image_bucket", BucketFacts)
    session = session_for(step.blueprint.declaration.site)
    folder = Place(bucket.namespace, bucket.bucket, FOLDER)

    def fresh() -> str | None:
        kept = backups.backups_in(objects_under(session, folder))
        return kept[-1].name if kept and now() - kept[-1].at < within else None

    if fresh() is None:
        step.say("take a snapshot of etcd, seal it and upload it")
        _take(step, session, folder, now())
    name = fresh()
    if name is None or find_object(session, Place(bucket.namespace, bucket.bucket, name)) is None:
        raise NotVerified(
            "there is no fresh backup of etcd",
            why=f"one was taken, and {folder.name} does not hold it",
            fix="ocifree up --select 'assurance/etcd_backup'",
        )
    return name


def _take(step: Step, session: Session, folder: Place, moment: datetime) -> None:
    from dataclasses import replace

    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.objects import Upload, require_room
    from ocifree_pipeline.systems.talos import backups

    declaration = step.blueprint.declaration
    with tempfile.TemporaryDirectory(prefix="ocifree-etcd-") as directory:
        plain, sealed = Path(directory) / "etcd.db", Path(directory) / "etcd.age"
        _snapshot(step, plain)
        step.say(f"{backups.require_whole(plain)} bytes, whole by their own digest")
        digest = backups.seal(plain, sealed, _recipient(step))
        plain.unlink()
        free = allowance(declaration.site.allowance).limits_for(declaration.site.account)
        require_room(session, sealed.stat().st_size, free.get(Resource.OBJECT_STORAGE_GB, 0))
        place = replace(folder, name=folder.name + backups.name_for(moment, digest))
        Upload(session, journal_of(declaration.name), place, sealed, digest).run()


def _snapshot(step: Step, into: Path) -> None:
    """From the first control plane that gives one: etcd is the same on all of them."""
    said = []
    with nodes_of(step) as nodes:
        for place in nodes.control_planes:
            try:
                with nodes.open(place) as node:
                    node.snapshot(into)
                    return
            except Transient as error:
                into.unlink(missing_ok=True)
                said.append(f"{error.what}: {error.why}")
    raise Transient("no control plane gives a snapshot", why="; ".join(said)[:400], fix="look again in a minute")


def _recipient(step: Step) -> str:
    """The public half of the key that opens the vault, so that one key is enough to get everything back."""
    from ocifree_pipeline.systems.secrets.vault import vault_of

    return str(vault_of(step.blueprint.declaration.name).key().to_public())
