"""assurance/etcd_backup in the real graph: taken, sealed, found again, pruned, and good for a restore."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import oci
import pyrage
import pytest

from ocifree_pipeline.record import talos
from ocifree_pipeline.sandbox.talos import etcd_calls
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, Standing, standing

BACKUP, BUCKET = "assurance/etcd_backup", "oci/image_bucket"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("backup")) as found:
        yield found


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with stood.again(tmp_path / "home", monkeypatch) as found:
        yield found


def objects(deployment: Deployment) -> dict[str, bytes]:
    client: Any = deployment.client(oci.object_storage.ObjectStorageClient)
    namespace, bucket = deployment.facts(BUCKET)["namespace"], deployment.facts(BUCKET)["bucket"]
    names = [one.name for one in client.list_objects(namespace, bucket, prefix="etcd/").data.objects]
    return {name: client.get_object(namespace, bucket, name).data.content for name in names}


def test_a_backup_a_day_that_only_its_owner_can_read(native: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    native.materialize(CLUSTER, BUCKET)
    native.materialize(BACKUP)
    ((name, sealed),) = objects(native).items()
    assert native.facts(BACKUP)["newest"] == name
    key = pyrage.x25519.Identity.from_str(vault_of("lab").identity.read_text().strip())
    plain = pyrage.decrypt(sealed, [key])
    import base64

    assert etcd_calls._read_snapshot(base64.b64encode(plain).decode(), check=True)["revision"]

    calls = native.mutations()
    native.materialize(BACKUP)
    assert native.mutations() == calls
    assert native.metadata(BACKUP)["plan"] == "nothing to do"

    today = talos.now()
    for day in range(1, 11):
        monkeypatch.setattr("ocifree_pipeline.assets.etcd_backup.now", lambda day=day: today + timedelta(days=day))
        native.materialize(BACKUP)
    assert native.facts(BACKUP)["kept"] == len(objects(native)) == 7
    assert name not in objects(native)


def test_a_backup_that_was_never_restored_is_a_warning(native: Deployment) -> None:
    from ocifree_pipeline.checks.assurance import restore_drill_age
    from ocifree_pipeline.record.assurance import DRILL
    from ocifree_pipeline.record.definition import Step

    step = Step(native.blueprint, BACKUP, native.instance, lambda line: None)
    never = restore_drill_age(step)
    assert (never.passed, never.warn) == (False, True)
    assert "restore_drill" in never.summary
    native.instance.report_runless_asset_event(
        dg.AssetObservation(BACKUP.split("/"), metadata={DRILL: dg.MetadataValue.bool(True)})
    )
    assert restore_drill_age(step).passed
