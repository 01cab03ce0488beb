"""From machines to a kubeconfig that answers, in the real graph: once, again, and after what may go wrong."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.checks.kubernetes import certificate_valid
from ocifree_pipeline.checks.machines import never_recreated
from ocifree_pipeline.record.cluster import ETCD_SECONDS
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.talos import kept_bundle
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline.sandbox.talos import etcd, life
from ocifree_pipeline.sandbox.talos.node import Node, nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline.systems.talos.certificates import new_client
from ocifree_pipeline.systems.talos.client import Talos
from ocifree_pipeline.systems.talos.configuration import digest_of
from ocifree_pipeline.systems.talos.secrets import encoded, new_bundle
from ocifree_pipeline.systems.talos.trust import as_administrator
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, CONFIG, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.assets.test_machines import checks
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("native")) as found:
        yield found


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with stood.again(tmp_path / "home", monkeypatch) as found:
        yield found


def node(deployment: Deployment) -> Node:
    return deployment.sandbox.inside(lambda world: next(nodes(world)))


def writes(deployment: Deployment) -> list[str]:
    return [one.operation for one in deployment.sandbox.recorder if one.mutating]


def test_up_to_a_kubeconfig_and_the_second_time_nothing_changes(native: Deployment) -> None:
    result = native.materialize(CLUSTER, KUBECONFIG)
    seen = checks(result)
    assert seen.keys() == {
        "cluster:etcd_quorum",
        "kubeconfig:nodes_ready",
        "kubeconfig:certificate_valid",
        "kubeconfig:cluster_info",
    }
    assert seen["cluster:etcd_quorum"]
    assert seen["kubeconfig:certificate_valid"]
    assert seen["kubeconfig:cluster_info"]
    facts, key = native.facts(CLUSTER), native.facts(KUBECONFIG)
    assert facts["nodes"] == ["lab-ampere-1"]
    assert facts["talos_version"] == "1.13.9"
    assert set(facts["members"]) == {"lab-ampere-1"}
    assert native.metadata(CLUSTER)["plan"] == "- bootstrap etcd on lab-ampere-1"
    assert native.metadata(KUBECONFIG)["plan"] == "- fetch a kubeconfig: the vault holds none"
    file = Path(key["file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.read_text() == vault_of("lab").get(KUBECONFIG).get_secret_value()
    assert native.metadata(KUBECONFIG)["days left"] >= 360

    calls = writes(native)
    assert "Bootstrap" in calls
    native.materialize(CLUSTER, KUBECONFIG)
    assert writes(native) == calls, "zero mutating calls"
    assert [native.metadata(one)["plan"] for one in (CLUSTER, KUBECONFIG)] == ["nothing to do"] * 2
    assert (native.facts(CLUSTER), native.facts(KUBECONFIG)) == (facts, key)


def test_nothing_secret_is_recorded_or_logged(native: Deployment, capfd: pytest.CaptureFixture[str]) -> None:
    runs = [native.materialize(CLUSTER, KUBECONFIG)]
    said = capfd.readouterr()
    told = said.out + said.err + str(native.metadata(CLUSTER)) + str(native.metadata(KUBECONFIG))
    told += "".join(
        str(entry) + repr(entry.dagster_event) for run in runs for entry in native.instance.all_logs(run.run_id)
    )
    kept = vault_of("lab").get(KUBECONFIG).get_secret_value()
    data = yaml.safe_load(kept)["users"][0]["user"]
    assert native.facts(KUBECONFIG)["server"] in told
    assert [name for name, value in data.items() if value[:40] in told] == []
    assert "PRIVATE KEY" not in told


# what may go wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_etcd_that_somebody_founded_is_recognised(native: Deployment) -> None:
    from ocifree_pipeline.sandbox.talos import cluster

    native.sandbox.inside(lambda world: cluster.bootstrap(next(nodes(world)), None))
    native.materialize(CLUSTER)
    assert "Bootstrap" not in writes(native)
    assert native.metadata(CLUSTER)["plan"] == "nothing to do"


@pytest.mark.long
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_broken_answer_to_bootstrap_founds_one_etcd(
    native: Deployment, moment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocifree_pipeline.record.definition.RETRY_SECONDS", 0)
    native.sandbox.faults.add(Rule(service="talos", operation="Bootstrap", moment=moment))
    native.materialize(CLUSTER)
    assert len(native.sandbox.faults.fired) == 1
    assert native.sandbox.inside(lambda world: len(etcd.of_world(world))) == 1
    assert journal_of("lab").open_intents() == []


@pytest.mark.long
def test_a_node_that_dies_during_bootstrap_is_gone_on_with_when_it_is_back(
    native: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Talos.bootstrap

    def and_dies(self: Talos, **more: Any) -> None:
        asked(self, **more)
        native.sandbox.inside(lambda world: power.power_off(next(nodes(world)).computer))

    monkeypatch.setattr(Talos, "bootstrap", and_dies)
    monkeypatch.setattr("ocifree_pipeline.record.definition.RETRIES", 0)
    monkeypatch.setitem(ETCD_SECONDS, "talos-native", 2.0)
    (told,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert told["error"] == "TimedOut"
    assert "etcd has lab-ampere-1 as a member" in told["what"]
    monkeypatch.setattr(Talos, "bootstrap", asked)
    monkeypatch.setitem(ETCD_SECONDS, "talos-native", 900.0)
    native.sandbox.inside(lambda world: power.power_on(next(nodes(world)).computer))
    native.materialize(CLUSTER)
    assert writes(native).count("Bootstrap") == 1
    assert journal_of("lab").open_intents() == []


@pytest.mark.long
def test_an_etcd_that_is_gone_is_not_replaced_by_an_empty_one(native: Deployment) -> None:
    native.materialize(CLUSTER)

    def wiped(world: World) -> None:
        lost = next(nodes(world))
        life.wipe(lost, {"EPHEMERAL"})
        power.restart(lost.computer)

    native.sandbox.inside(wiped)
    native.sandbox.advance(120)
    (told,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert (told["error"], told["reaction"]) == ("NeedsConfirmation", "ask")
    assert "restore a backup" in told["fix"]
    assert writes(native).count("Bootstrap") == 1


@pytest.mark.long
def test_a_node_with_other_secrets_lets_nobody_in(native: Deployment) -> None:
    other = configuration(new_bundle(datetime.now(UTC)), hostname="lab-ampere-1")

    def exchanged(world: World) -> None:
        found = next(nodes(world))
        found.disk["configuration"] = other
        power.restart(found.computer)

    native.sandbox.inside(exchanged)
    native.sandbox.advance(120)
    (told,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert told["error"] == "AuthFailed"
    assert "did not sign" in told["what"]
    assert "Bootstrap" not in writes(native)
    assert "ApplyConfiguration" not in writes(native)


@pytest.mark.long
def test_a_node_without_a_configuration_gets_it_when_its_console_vouches_for_it(native: Deployment) -> None:
    def empty(world: World) -> None:
        found = next(nodes(world))
        life.wipe(found, {"STATE", "EPHEMERAL"})
        instance = world.table("instance")[found.key]
        instance.body["metadata"].pop("user_data")
        power.restart(found.computer)

    native.sandbox.inside(empty)
    native.sandbox.advance(120)
    native.materialize(CLUSTER)
    assert node(native).text == vault_of("lab").get(CONFIG).get_secret_value()
    assert writes(native).count("ApplyConfiguration") == 1


@pytest.mark.long
def test_a_changed_configuration_is_sent_and_nothing_is_founded_again(native: Deployment) -> None:
    native.materialize(CLUSTER)
    vault = vault_of("lab")
    text = (
        vault.get(CONFIG)
        .get_secret_value()
        .replace("disableManifestsDirectory: true", "disableManifestsDirectory: false")
    )
    changed = SecretStr(text)
    assert changed != vault.get(CONFIG)
    vault.put({CONFIG: changed})
    (told,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert "another configuration" in told["what"], "the record decides what is sent"
    native.pretend(CONFIG, **{**native.facts(CONFIG), "digest": digest_of(changed)})
    native.materialize(CLUSTER)
    assert native.metadata(CLUSTER)["plan"] == "- send lab-ampere-1 its configuration"
    assert writes(native).count("Bootstrap") == 1

    image = "oci/custom_image/talos_oracle"
    native.pretend(image, **{**native.facts(image), "ocid": "ocid1.image.oc1.uk-london-1.newer"})
    machine = never_recreated(Step(native.blueprint, "machines/ampere_1", native.instance, print))
    assert machine.passed, "what was brought up to date in place is no other machine than was planned"
    assert "is for the next machine" in machine.summary


@pytest.mark.long
def test_another_version_of_kubernetes_is_not_slipped_in(native: Deployment) -> None:
    native.materialize(CLUSTER)
    native.pretend(CLUSTER, **{**native.facts(CLUSTER), "kubernetes_version": "1.35.0"})
    (told,) = native.errors(native.materialize(CLUSTER, good=False)).values()
    assert told["error"] == "PreconditionMissing"
    assert "upgrade_kubernetes" in told["fix"]


# the kubeconfig -------------------------------------------------------------------------------------------------------


def test_a_lost_kubeconfig_is_fetched_and_a_lost_file_is_written(native: Deployment) -> None:
    native.materialize(CLUSTER, KUBECONFIG)
    vault, file = vault_of("lab"), Path(native.facts(KUBECONFIG)["file"])
    first = vault.get(KUBECONFIG).get_secret_value()
    file.unlink()
    native.materialize(KUBECONFIG)
    assert file.read_text() == first
    assert "write lab.yaml again" in native.metadata(KUBECONFIG)["plan"]
    file.chmod(0o644)
    native.materialize(KUBECONFIG)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    vault.remove(frozenset({KUBECONFIG}))
    native.materialize(KUBECONFIG)
    assert file.read_text() == vault.get(KUBECONFIG).get_secret_value() != first


@pytest.mark.long
@pytest.mark.parametrize(("left", "renewed"), [(40, False), (29, True)])
def test_it_is_renewed_a_month_before_it_expires(
    native: Deployment, monkeypatch: pytest.MonkeyPatch, left: int, renewed: bool
) -> None:
    native.materialize(CLUSTER, KUBECONFIG)
    first = vault_of("lab").get(KUBECONFIG).get_secret_value()
    expires = datetime.fromisoformat(native.facts(KUBECONFIG)["expires"])
    monkeypatch.setattr("ocifree_pipeline.record.cluster.now", lambda: expires - timedelta(days=left, hours=1))
    step = Step(native.blueprint, KUBECONFIG, native.instance, lambda line: None)
    verdict = certificate_valid(step)
    assert (verdict.passed, verdict.warn) == (not renewed, True)
    monkeypatch.setattr("ocifree_pipeline.record.cluster.administrator", administrator_of_today)
    native.materialize(KUBECONFIG)
    assert (vault_of("lab").get(KUBECONFIG).get_secret_value() != first) == renewed


def administrator_of_today(step: Step) -> Any:
    """The clock was only turned for kubeconfigs."""
    bundle = kept_bundle(step)
    return as_administrator(bundle.talos.certificate, new_client(bundle.talos, datetime.now(UTC)))


@pytest.mark.long
def test_a_kubeconfig_of_another_cluster_is_replaced(native: Deployment) -> None:
    native.materialize(CLUSTER, KUBECONFIG)
    vault = vault_of("lab")
    data = yaml.safe_load(vault.get(KUBECONFIG).get_secret_value())
    other = new_bundle(datetime.now(UTC)).kubernetes.certificate
    data["clusters"][0]["cluster"]["certificate-authority-data"] = encoded(other)
    vault.put({KUBECONFIG: SecretStr(yaml.safe_dump(data))})
    native.materialize(KUBECONFIG)
    assert native.metadata(KUBECONFIG)["plan"] == "- fetch a kubeconfig: it is for another cluster"
