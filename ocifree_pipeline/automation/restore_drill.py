"""What restore_drill does: the newest backup of etcd is fetched and opened, and compared with what lives.

No etcd is started with it: that needs a cluster to spare. What is proved is all that a restore takes from us: the key
opens it, it is whole, it is the file of this cluster's etcd, and every object of its time is in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ocifree_pipeline.automation.backups import BACKUP, IDENTITY, chosen, is_it, living, objects_in, opened
from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.record.assurance import DRILL
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.platform import cluster_api

if TYPE_CHECKING:
    from ocifree_pipeline.systems.talos.backups import Backup

AGAIN = "dagster job execute -m ocifree_pipeline.definitions -j restore_drill"
SHOWN = 5


def restore_drill(step: Step) -> str:
    newest = chosen(step, "")
    with tempfile.TemporaryDirectory(prefix="ocifree-drill-") as directory:
        kept = objects_in(opened(step, newest, Path(directory)))
    with cluster_api(step) as api:
        live = list(living(api))
    if not is_it(dict(live).get(IDENTITY), kept.get(IDENTITY, b"")):
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
