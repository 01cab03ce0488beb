"""ocifree restore in the real graph: into empty control planes, over a living cluster if typed, and on after a stop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.automation.restore import OP, restore
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.platform import cluster_api
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline.sandbox.talos import etcd, life
from ocifree_pipeline.sandbox.talos.node import nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.kube.objects import ref_of
from ocifree_pipeline.systems.talos.restoring import under_way
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, KUBECONFIG, Standing, standing

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
BACKUP, BUCKET = "assurance/etcd_backup", "oci/image_bucket"


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("restore")) as found:
        yield found


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A cluster with a backup, and an object that is younger than it."""
    with stood.again(tmp_path / "home", monkeypatch) as found:
        found.materialize(CLUSTER, KUBECONFIG, BUCKET)
        make(found, "older")
        monkeypatch.setattr("ocifree_pipeline.assets.etcd_backup.now", lambda: datetime.now(UTC) + timedelta(hours=2))
        found.materialize(BACKUP)
        make(found, "younger")
        found.sandbox.recorder.clear()
        yield found


def make(deployment: Deployment, name: str) -> None:
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
    with cluster_api(Step(deployment.blueprint, CLUSTER, deployment.instance, print)) as api:
        api.apply(api.require("v1", "ConfigMap"), thing)


def maps(deployment: Deployment) -> set[str]:
    with cluster_api(Step(deployment.blueprint, CLUSTER, deployment.instance, print)) as api:
        return {ref_of(one).name for one in api.list(api.require("v1", "ConfigMap"), "default")} & {"older", "younger"}


def restored(deployment: Deployment, backup: str = "", confirm: str = "") -> dict[str, Any]:
    """What was told of the error; nothing if it ended well."""
    result = deployment.definitions.resolve_job_def("restore").execute_in_process(
        instance=deployment.instance,
        run_config={"ops": {OP: {"config": {"backup": backup, "confirm": confirm}}}},
        raise_on_error=False,
    )
    if result.success:
        return {}
    data = result.failure_data_for_node(OP)
    assert data is not None
    assert data.user_failure_data is not None, data.error
    return {name: value.value for name, value in data.user_failure_data.metadata.items()}


def writes(deployment: Deployment) -> list[str]:
    called = [one.operation for one in deployment.sandbox.recorder if one.mutating]
    return [one for one in called if one in {"Reset", "EtcdRecover", "Bootstrap", "ApplyConfiguration"}]


def lose(deployment: Deployment) -> None:
    """The disk of etcd is new, as on a machine that was made again."""

    def wiped(world: World) -> None:
        lost = next(nodes(world))
        life.wipe(lost, {"EPHEMERAL"})
        power.restart(lost.computer)

    deployment.sandbox.inside(wiped)
    deployment.sandbox.advance(120)


def test_a_lost_etcd_comes_back_without_a_word_typed(native: Deployment) -> None:
    lose(native)
    (told,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert "ocifree restore" in told["fix"]
    before = native.facts(CLUSTER)["members"]
    assert restored(native) == {}
    assert writes(native) == ["EtcdRecover", "Bootstrap"]
    assert maps(native) == {"older"}
    assert journal_of("lab").open_intents() == []
    assert native.facts(CLUSTER)["members"] != before
    native.materialize(CLUSTER, KUBECONFIG)
    assert [native.metadata(one)["plan"] for one in (CLUSTER, KUBECONFIG)] == ["nothing to do"] * 2


def test_a_cluster_that_lives_goes_back_only_if_its_name_is_typed(native: Deployment) -> None:
    for typed in ("", "lap"):
        told = restored(native, confirm=typed)
        assert (told["error"], told["reaction"]) == ("NeedsConfirmation", "ask")
        assert "lab lives on lab-ampere-1" in told["what"]
    assert writes(native) == []
    assert restored(native, confirm="lab") == {}
    assert writes(native) == ["Reset", "EtcdRecover", "Bootstrap"]
    assert maps(native) == {"older"}


def test_a_backup_is_named_by_its_beginning(native: Deployment) -> None:
    name = native.facts(BACKUP)["newest"].rpartition("/")[2]
    lose(native)
    told = restored(native, "1999")
    assert told["error"] == "PreconditionMissing"
    assert name.partition(".")[0] in told["why"]
    assert writes(native) == []
    assert restored(native, name[:10]) == {}


@pytest.mark.parametrize("operation", ["Reset", "EtcdRecover", "Bootstrap"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_broken_answer_does_not_end_it(native: Deployment, operation: str, moment: Any) -> None:
    native.sandbox.faults.add(Rule(service="talos", operation=operation, moment=moment))
    assert restored(native, confirm="lab") == {}
    assert len(native.sandbox.faults.fired) == 1
    assert native.sandbox.inside(lambda world: len(etcd.of_world(world))) == 2, "the old one and the restored one"
    assert maps(native) == {"older"}


@pytest.mark.parametrize("dies_at", ["reset", "recover", "bootstrap", "kubeconfig"])
def test_it_goes_on_after_a_death_and_nobody_types_again(
    native: Deployment, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    from ocifree_pipeline.systems.talos.client import Talos

    asked = getattr(Talos, dies_at)

    def and_dies(self: Talos, *words: Any, **more: Any) -> Any:
        asked(self, *words, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(Talos, dies_at, and_dies)
    with pytest.raises(KeyboardInterrupt):
        restore(Step(native.blueprint, CLUSTER, native.instance, print), "", agreed=True)
    monkeypatch.setattr(Talos, dies_at, asked)
    assert under_way(journal_of("lab"), "lab")
    assert restored(native) == {}
    assert writes(native).count("Bootstrap") == 1
    assert maps(native) == {"older"}
    assert journal_of("lab").open_intents() == []
