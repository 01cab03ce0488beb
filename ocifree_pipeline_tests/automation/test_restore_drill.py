"""The job restore_drill in the real graph: it passes on a good backup only, and the check of its age believes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import oci
import pytest

from ocifree_pipeline.automation.operations import op_of
from ocifree_pipeline.checks.assurance import restore_drill_age
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, KUBECONFIG, Standing, standing

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
BACKUP, BUCKET = "assurance/etcd_backup", "oci/image_bucket"


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("drill")) as found:
        yield found


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with stood.again(tmp_path / "home", monkeypatch) as found:
        found.materialize(CLUSTER, KUBECONFIG, BUCKET)
        # The clock of the sandbox has run ahead of ours while it waited.
        monkeypatch.setattr("ocifree_pipeline.assets.etcd_backup.now", lambda: datetime.now(UTC) + timedelta(hours=2))
        yield found


def drill(deployment: Deployment) -> tuple[bool, dict[str, Any]]:
    result = deployment.definitions.resolve_job_def("restore_drill").execute_in_process(
        instance=deployment.instance, raise_on_error=False
    )
    if result.success:
        return True, {}
    data = result.failure_data_for_node(op_of("restore_drill"))
    assert data is not None
    assert data.user_failure_data is not None, data.error
    return False, {name: value.value for name, value in data.user_failure_data.metadata.items()}


def test_a_good_backup_passes_and_nothing_is_changed(native: Deployment) -> None:
    passed, told = drill(native)
    assert (passed, told["error"]) == (False, "PreconditionMissing")
    native.materialize(BACKUP)
    calls = native.mutations()
    assert drill(native) == (True, {})
    assert native.mutations() == calls
    assert restore_drill_age(Step(native.blueprint, BACKUP, native.instance, lambda line: None)).passed
    (record,) = native.instance.fetch_observations(dg.AssetKey(BACKUP.split("/")), limit=1).records
    assert record.asset_observation is not None
    metadata = record.asset_observation.metadata
    assert int(str(metadata["keys"].value)) > int(str(metadata["compared"].value)) > 10


def test_a_backup_that_was_changed_or_that_another_key_sealed_fails(native: Deployment) -> None:
    import pyrage

    native.materialize(BACKUP)
    client: Any = native.client(oci.object_storage.ObjectStorageClient)
    facts, name = native.facts(BUCKET), native.facts(BACKUP)["newest"]
    content = bytearray(client.get_object(facts["namespace"], facts["bucket"], name).data.content)
    identity = vault_of("lab").identity
    mine = identity.read_text("utf-8")
    identity.write_text(str(pyrage.x25519.Identity.generate()))
    assert "was sealed for another" in drill(native)[1]["why"]
    identity.write_text(mine)
    content[-1] ^= 1
    client.put_object(facts["namespace"], facts["bucket"], name, bytes(content))
    assert "its name tells of another" in drill(native)[1]["why"]
    assert not restore_drill_age(Step(native.blueprint, BACKUP, native.instance, lambda line: None)).passed


def test_a_backup_without_an_object_of_its_time_or_of_another_cluster_fails(
    native: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ocifree_pipeline.sandbox.talos import etcd_file

    written = etcd_file.write

    def without(resource: str, name: str) -> None:
        def write(dump: dict[str, Any]) -> bytes:
            objects = {key: dict(table) for key, table in dump["objects"].items()}
            objects[resource].pop(name)
            return written({**dump, "objects": objects})

        monkeypatch.setattr(etcd_file, "write", write)

    without("serviceaccounts", "kube-system/default")
    native.materialize(BACKUP)
    told = drill(native)[1]
    assert told.get("why") == "/registry/serviceaccounts/kube-system/default"
    without("namespaces", "kube-system")
    client: Any = native.client(oci.object_storage.ObjectStorageClient)
    facts = native.facts(BUCKET)
    client.delete_object(facts["namespace"], facts["bucket"], native.facts(BACKUP)["newest"])
    native.materialize(BACKUP)
    assert "is not of this cluster" in drill(native)[1]["what"]


def test_a_backup_that_is_older_than_everything_proves_nothing(
    native: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocifree_pipeline.assets.etcd_backup.now", lambda: datetime.now(UTC) - timedelta(hours=1))
    native.materialize(BACKUP)
    assert "nothing can be compared" in drill(native)[1]["what"]
