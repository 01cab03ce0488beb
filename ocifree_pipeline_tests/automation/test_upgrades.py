"""The jobs upgrade_talos and upgrade_kubernetes in the real graph: forward, once, gated, and on after a stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import oci
import pytest

from ocifree_pipeline.automation.operations import op_of
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.talos.node import nodes
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, CONFIG, KUBECONFIG, Standing, standing

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
BUCKET = "oci/image_bucket"


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A cluster whose node is Ready, to begin from again and again."""
    home, keys = tmp_path_factory.mktemp("upgrades") / "home", (CLUSTER, KUBECONFIG, BUCKET, "platform/cilium")
    with standing(tmp_path_factory.mktemp("native")) as first:
        with pytest.MonkeyPatch.context() as patch, first.again(home, patch) as found:
            found.materialize(*keys)
            facts = first.ground.facts | {key: found.facts(key) for key in keys}
            saved = found.sandbox.inside(lambda world: snapshot.save(world, home.parent / "standing.tar"))
        yield Standing(replace(first.ground, snapshot=saved, facts=facts), home)


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with stood.again(tmp_path / "home", monkeypatch) as found:
        yield found


def declare(deployment: Deployment, **versions: str) -> None:
    before = deployment.blueprint.declaration
    kubernetes = before.kubernetes.model_copy(update=versions)
    deployment.blueprint = blueprint_of(before.model_copy(update={"kubernetes": kubernetes}))
    deployment.definitions = definitions_for(deployment.blueprint)


def run(deployment: Deployment, job: str, typed: str = "lab") -> dg.ExecuteInProcessResult:
    return deployment.definitions.resolve_job_def(job).execute_in_process(
        instance=deployment.instance,
        run_config={"ops": {op_of(job): {"config": {"confirm": typed}}}},
        raise_on_error=False,
    )


def told(result: dg.ExecuteInProcessResult, job: str) -> dict[str, Any]:
    data = result.failure_data_for_node(op_of(job))
    assert data is not None
    assert data.user_failure_data is not None
    return {name: value.value for name, value in data.user_failure_data.metadata.items()}


def upgraded(deployment: Deployment, job: str) -> list[str]:
    """The mutating calls of a run that ends well."""
    before = len(writes(deployment))
    result = run(deployment, job)
    assert result.success, told(result, job)
    return writes(deployment)[before:]


def writes(deployment: Deployment) -> list[str]:
    return [one.operation for one in deployment.sandbox.recorder if one.mutating]


def version(deployment: Deployment) -> str:
    return deployment.sandbox.inside(lambda world: next(nodes(world)).version)


def backups(deployment: Deployment) -> list[str]:
    client: Any = deployment.client(oci.object_storage.ObjectStorageClient)
    facts = deployment.facts(BUCKET)
    return [one.name for one in client.list_objects(facts["namespace"], facts["bucket"], prefix="etcd/").data.objects]


def test_talos_goes_to_the_next_version_after_a_snapshot_and_once(native: Deployment) -> None:
    declare(native, talos_version="1.14.2")
    native.materialize(CONFIG)
    (refused,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert refused["what"] == "Talos 1.14.2 is declared, and lab-ampere-1 runs 1.13.9"
    assert "ocifree upgrade talos" in refused["fix"]

    done = upgraded(native, "upgrade_talos")
    assert [one for one in done if one in {"Upgrade", "Reboot", "PutObject"}] == ["PutObject", "Upgrade", "Reboot"]
    assert len(backups(native)) == 1
    assert version(native) == "v1.14.2"
    assert native.facts(CLUSTER)["talos_version"] == "1.14.2"
    assert upgraded(native, "upgrade_talos") == []
    native.materialize(CLUSTER)
    assert native.metadata(CLUSTER)["plan"] == "- send lab-ampere-1 its configuration"
    native.materialize(CLUSTER)
    assert native.metadata(CLUSTER)["plan"] == "nothing to do"


def test_kubernetes_goes_to_the_next_version_control_plane_first(native: Deployment) -> None:
    assert native.facts(CLUSTER)["kubernetes_version"] == "1.36.3"
    declare(native, talos_version="1.14.2")
    native.materialize(CONFIG)
    upgraded(native, "upgrade_talos")
    declare(native, kubernetes_version="1.37.0")
    (refused,) = native.errors(native.materialize(CONFIG, CLUSTER, good=False)).values()
    assert "ocifree upgrade kubernetes" in refused["fix"]
    done = upgraded(native, "upgrade_kubernetes")
    assert done.count("ApplyConfiguration") == 2, "API server, then kubelet"
    assert native.facts(CLUSTER)["kubernetes_version"] == "1.37.0"
    assert upgraded(native, "upgrade_kubernetes") == []
    native.materialize(CLUSTER, KUBECONFIG)
    assert native.metadata(CLUSTER)["plan"] == "nothing to do"


@pytest.mark.parametrize(
    ("versions", "job", "what"),
    [
        ({"talos_version": "1.12.9", "kubernetes_version": "1.35.0"}, "upgrade_talos", "is newer than 1.12.9"),
        ({"kubernetes_version": "1.35.0"}, "upgrade_kubernetes", "is newer than 1.35.0"),
        ({"talos_version": "1.14.2"}, "upgrade_kubernetes", "not every node runs Talos 1.14.2"),
    ],
)
def test_what_may_not_be_is_refused_before_anything_is_done(
    native: Deployment, versions: dict[str, str], job: str, what: str
) -> None:
    declare(native, **versions)
    native.materialize(CONFIG)
    calls = writes(native)
    assert what in told(run(native, job), job)["what"]
    assert writes(native) == calls


def test_nothing_happens_without_the_name_or_without_new_configurations(native: Deployment) -> None:
    declare(native, talos_version="1.14.2")
    calls = writes(native)
    assert told(run(native, "upgrade_talos", "lap"), "upgrade_talos")["error"] == "NeedsConfirmation"
    assert "is for another talos_version" in told(run(native, "upgrade_talos"), "upgrade_talos")["what"]
    assert writes(native) == calls


def test_without_a_snapshot_nothing_is_upgraded_and_the_next_run_goes_on(native: Deployment) -> None:
    declare(native, talos_version="1.14.2")
    native.materialize(CONFIG)
    native.sandbox.faults.add(Rule(service="talos", operation="EtcdSnapshot", moment="before", times=1))
    failed = told(run(native, "upgrade_talos"), "upgrade_talos")
    assert failed["again"] == "ocifree upgrade talos"
    assert "Upgrade" not in writes(native)
    assert version(native) == "v1.13.9"
    assert "Upgrade" in upgraded(native, "upgrade_talos")


def test_an_upgrade_that_broke_off_after_the_installer_goes_on(native: Deployment) -> None:
    declare(native, talos_version="1.14.2")
    native.materialize(CONFIG)
    native.sandbox.faults.add(Rule(service="talos", operation="Upgrade", moment="after", times=1))
    failed = told(run(native, "upgrade_talos"), "upgrade_talos")
    assert (failed["error"], failed["what"]) == ("NotVerified", "stopped: lab-ampere-1 is in doubt")
    assert "`ocifree upgrade talos` goes on where it stopped" in failed["fix"]
    upgraded(native, "upgrade_talos")
    assert version(native) == "v1.14.2"
    assert len(backups(native)) == 1, "the snapshot of the first attempt is young enough"


def test_it_does_not_begin_while_a_node_is_not_ready(native: Deployment) -> None:
    from ocifree_pipeline.sandbox.kubernetes import cluster as kubernetes
    from ocifree_pipeline.sandbox.talos import cluster

    def silent(world: Any) -> None:
        made = cluster.kubernetes_of(next(nodes(world)))
        assert made is not None
        made.add_node("lab-ampere-9", kubernetes.Machine(addresses=("10.0.1.99",)))
        made.settle()
        made.set_node_ready("lab-ampere-9", False)

    native.sandbox.inside(silent)
    native.sandbox.advance(120)
    declare(native, talos_version="1.14.2")
    native.materialize(CONFIG)
    failed = told(run(native, "upgrade_talos"), "upgrade_talos")
    assert failed["what"] == "lab-ampere-1 was not begun with: the cluster is not well"
    assert "lab-ampere-9" in failed["why"]
    assert "Upgrade" not in writes(native)
