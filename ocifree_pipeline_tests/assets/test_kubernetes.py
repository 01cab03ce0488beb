"""talos/secrets and talos/machine_config_<n> in the real graph: made once, kept in the vault, told by digests alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.assets.departed import take_out
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.claims import user_data_of
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import materialize_command
from ocifree_pipeline.record.tenancy import PlanFacts
from ocifree_pipeline.systems.secrets.vault import Vault, vault_of
from ocifree_pipeline.systems.talos.certificates import new_authority
from ocifree_pipeline.systems.talos.secrets import as_file, from_file, new_bundle
from ocifree_pipeline_tests.assets.conftest import Deployment

SECRETS, FIRST = "talos/secrets", "talos/machine_config_1"
INGRESS = "203.0.113.9"
LIMITS = {
    "tenancy": "t",
    "home_region": "uk-london-1",
    "availability_domains": ["ad:1"],
    "limits": {"regional": {}, "per_ad": {}},
    "used_by_others": {"regional": {}, "per_ad": {}},
}


def blueprint(topology: str, **kubernetes: Any) -> Blueprint:
    data = yaml.safe_load(example(topology))
    data.setdefault("kubernetes", {}).update(kubernetes)
    return blueprint_of(parse(yaml.safe_dump(data)))


@contextmanager
def deployment(drawn: Blueprint) -> Iterator[Deployment]:
    """Upstreams pretended: what is made here needs no cloud."""
    with dg.DagsterInstance.ephemeral() as instance:
        found = Deployment(cast("Any", None), drawn, instance)
        found.pretend("tenancy/limits", **LIMITS)
        found.pretend("tenancy/plan", **PlanFacts.of(drawn.plan).model_dump(mode="json"))
        found.pretend(
            "oci/network",
            compartment="c",
            vcn="v",
            vcn_cidr="10.0.0.0/16",
            subnets={"public": "s1", "private": "s2"},
            groups={"ssh": "g1", "web": "g2", "inside": "g3"},
            nodes_subnet="public",
        )
        found.pretend("oci/reserved_ips", addresses={"ingress": {"id": "i", "address": INGRESS}})
        yield found


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """One A1 machine with Talos on it."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with deployment(blueprint("talos-native")) as found:
        yield found


@pytest.fixture(scope="module")
def sealed() -> str:
    """Secrets of some cluster, so that not every test has to make its own."""
    return as_file(new_bundle(datetime.now(UTC))).get_secret_value()


@pytest.fixture
def vault(lab: Deployment, sealed: str) -> Vault:
    kept = vault_of(lab.blueprint.declaration.name)
    kept.put({SECRETS: SecretStr(sealed)})
    return kept


def config(vault: Vault, number: int = 1) -> dict[str, Any]:
    text = vault.get(f"talos/machine_config_{number}").get_secret_value()
    found: dict[str, Any] = next(yaml.safe_load_all(text))
    return found


def test_made_once_and_never_again(lab: Deployment) -> None:
    vault = vault_of(lab.blueprint.declaration.name)
    first = lab.materialize(SECRETS, FIRST)
    kept = {name: vault.get(name).get_secret_value() for name in vault.names()}
    assert set(kept) == {SECRETS, FIRST}
    assert lab.metadata(SECRETS)["plan"] == "- make the secrets of the cluster"
    facts = lab.facts(FIRST)
    assert (facts["hostname"], facts["role"], facts["address"]) == ("lab-ampere-1", "controlplane", None)
    assert facts["endpoint"] == "https://lab-ampere-1.public.lab.oraclevcn.com:6443"
    assert f"sha256 {facts['digest'][:12]}" in lab.metadata(FIRST)["summary"]
    assert {check.check_name: check.passed for check in first.get_asset_check_evaluations()} == {"secrets_kept": True}

    recorded = {key: lab.facts(key) for key in (SECRETS, FIRST)}
    lab.materialize(SECRETS, FIRST)
    assert {name: vault.get(name).get_secret_value() for name in vault.names()} == kept
    assert {key: lab.facts(key) for key in (SECRETS, FIRST)} == recorded
    assert [lab.metadata(key)["plan"] for key in (SECRETS, FIRST)] == ["nothing to do"] * 2


def test_the_machine_gets_the_text_that_was_recorded(lab: Deployment, vault: Vault) -> None:
    lab.materialize(SECRETS, FIRST)
    step = Step(lab.blueprint, "machines/ampere_1", lab.instance, print)
    handed = user_data_of(step, lab.blueprint.plan.ampere[0])
    assert handed == vault.get(FIRST).get_secret_value()
    machine = config(vault)["machine"]
    assert machine["certSANs"] == ["lab-ampere-1.public.lab.oraclevcn.com", INGRESS]
    assert machine["kubelet"]["nodeIP"]["validSubnets"] == ["10.0.0.0/24"]
    assert 10_000 < lab.metadata(FIRST)["user data bytes"] < 24_000
    brought = config(vault)["cluster"]
    assert [one["name"] for one in brought["inlineManifests"]] == ["cilium-install"]
    assert "--version=v1.20.0" in brought["inlineManifests"][0]["contents"]
    assert [url.rpartition("/")[2] for url in brought["extraManifests"]] == ["install.yaml", "standard-install.yaml"]


def test_lost_secrets_are_not_replaced(lab: Deployment, vault: Vault) -> None:
    lab.materialize(SECRETS)
    vault.remove(frozenset({SECRETS}))
    errors = lab.errors(lab.materialize(SECRETS, good=False))
    (told,) = errors.values()
    assert told["error"] == "PreconditionMissing"
    assert told["what"] == "the secrets of the cluster are lost"
    assert """dagster asset wipe '["talos", "secrets"]'""" in told["fix"]
    assert SECRETS not in vault.names()
    (told,) = lab.errors(lab.materialize(FIRST, good=False)).values()
    assert told["what"] == "the secrets of the cluster are lost"
    assert FIRST not in vault.names()


def test_secrets_of_another_cluster_are_not_used(lab: Deployment, vault: Vault) -> None:
    lab.materialize(SECRETS)
    bundle = from_file(vault.get(SECRETS))
    other = replace(bundle, talos=new_authority("ed25519", datetime.now(UTC), organization="talos"))
    vault.put({SECRETS: as_file(other)})
    for key in (SECRETS, FIRST):
        (told,) = lab.errors(lab.materialize(key, good=False)).values()
        assert told["error"] == "NotVerified"
        assert told["what"] == "the vault holds the secrets of another cluster"
    assert FIRST not in vault.names()


def test_secrets_outlive_their_record(lab: Deployment, vault: Vault, sealed: str) -> None:
    """The first run died between the vault and the record, or the history was thrown away."""
    lab.materialize(SECRETS)
    assert lab.metadata(SECRETS)["plan"] == "- take over the secrets that the vault holds"
    assert vault.get(SECRETS).get_secret_value() == sealed


def test_without_secrets_there_is_no_configuration(lab: Deployment) -> None:
    (told,) = lab.errors(lab.materialize(FIRST, good=False)).values()
    assert told["what"] == f"{SECRETS} has not been materialized"
    assert told["fix"] == materialize_command(SECRETS)


def test_a_change_of_the_declaration_changes_the_digest(lab: Deployment, vault: Vault) -> None:
    lab.materialize(SECRETS, FIRST)
    before = lab.facts(FIRST)["digest"]
    with deployment(blueprint("talos-native", talos_version="1.14.2", kubernetes_version="1.37.0")) as newer:
        newer.pretend(SECRETS, **lab.facts(SECRETS))
        newer.materialize(FIRST)
        assert newer.facts(FIRST)["digest"] != before
        assert newer.metadata(FIRST)["plan"].startswith("- change the configuration of lab-ampere-1: sha256")
        assert newer.facts(FIRST)["installer"].endswith(":v1.14.2")


@pytest.mark.parametrize(
    ("left", "severity", "said"),
    [
        (31, None, "in 30 days"),
        (30, dg.AssetCheckSeverity.WARN, "in 29 days"),
        (-1, dg.AssetCheckSeverity.ERROR, "has expired"),
    ],
)
@pytest.mark.usefixtures("vault")
def test_expiry_is_told_before_it_comes(
    lab: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    severity: dg.AssetCheckSeverity | None,
    said: str,
) -> None:
    """A warning stops nothing; an authority that has expired stops what hangs on it."""
    then = datetime.now(UTC) + timedelta(days=3650 - left)
    monkeypatch.setattr("ocifree_pipeline.checks.kubernetes.now", lambda: then)
    result = lab.materialize(SECRETS, good=False)
    (check,) = result.get_asset_check_evaluations()
    assert said in (check.description or "")
    assert check.passed is (severity is None)
    assert severity in (None, check.severity)
    assert result.success is (severity is not dg.AssetCheckSeverity.ERROR)


def test_too_many_ssh_keys_leave_no_room(vault: Vault) -> None:
    data = yaml.safe_load(example("talos-native"))
    (key,) = data["access"]["ssh_public_keys"]
    data["access"]["ssh_public_keys"] = [f"{key}-{number}{'x' * 100}" for number in range(150)]
    with deployment(blueprint_of(parse(yaml.safe_dump(data)))) as crowded:
        crowded.materialize(SECRETS)
        (told,) = crowded.errors(crowded.materialize(FIRST, good=False)).values()
    assert told["error"] == "Refused"
    assert "as user data" in told["what"]
    assert FIRST not in vault.names()


def test_nothing_secret_is_recorded_or_logged(
    lab: Deployment, vault: Vault, sealed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = [lab.materialize(SECRETS, FIRST), lab.materialize(SECRETS, FIRST)]
    vault.remove(frozenset({SECRETS}))
    runs.append(lab.materialize(SECRETS, FIRST, good=False))
    said = capfd.readouterr()
    told = (
        said.out
        + said.err
        + "".join(str(entry) + repr(entry.dagster_event) for run in runs for entry in lab.instance.all_logs(run.run_id))
    )
    told += str([lab.metadata(key) for key in (SECRETS, FIRST)])
    assert lab.facts(FIRST)["digest"] in told
    found = yaml.safe_load(sealed)
    secrets = [found["cluster"]["secret"], *found["secrets"].values(), found["trustdinfo"]["token"]]
    bundle = from_file(SecretStr(sealed))
    keys = [*(pair.key for pair in bundle.authorities.values()), bundle.service_account_key]
    secrets += [line for key in keys for line in key.splitlines() if not line.startswith("-----")]
    secrets += [one["key"][60:] for one in found["certs"].values()]
    assert not [secret[:6] for secret in secrets if secret in told]


def test_guests_of_proxmox_have_addresses_of_their_own(vault: Vault) -> None:
    drawn = blueprint("proxmox-ceph")
    configs = [f"talos/machine_config_{number}" for number in (1, 2, 3)]
    with deployment(drawn) as guests:
        guests.pretend("proxmox/network")
        guests.materialize(SECRETS, *configs)
        facts = [guests.facts(key) for key in configs]
        assert "user data bytes" not in guests.metadata(FIRST)
    assert [one["address"] for one in facts] == ["10.20.0.10/16", "10.20.1.10/16", "10.20.2.10/16"]
    assert {one["endpoint"] for one in facts} == {"https://10.20.0.10:6443"}
    assert {one["role"] for one in facts} == {"controlplane"}
    assert [one["hostname"] for one in facts] == ["lab-talos-1", "lab-talos-2", "lab-talos-3"]
    assert "/nocloud-installer/" in facts[0]["installer"]
    first = config(vault)
    assert first["machine"]["certSANs"] == ["10.20.0.10", "10.20.1.10", "10.20.2.10", INGRESS]
    assert first["cluster"]["etcd"]["advertisedSubnets"] == ["10.20.0.0/16"]
    assert "externalCloudProvider" not in first["cluster"], "Oracle's controller knows no guests"
    assert len({one["digest"] for one in facts}) == 3


def test_workers_come_after_the_control_planes(vault: Vault) -> None:
    drawn = blueprint("proxmox-ceph", control_planes=1)
    with deployment(drawn) as guests:
        guests.materialize(SECRETS, FIRST, "talos/machine_config_2")
        assert guests.facts("talos/machine_config_2")["role"] == "worker"
    assert config(vault)["cluster"]["allowSchedulingOnControlPlanes"] is False
    assert config(vault, 2)["machine"]["ca"]["key"] == ""
    assert "inlineManifests" in config(vault)["cluster"]
    assert "inlineManifests" not in config(vault, 2)["cluster"], "a worker applies nothing"


def test_a_machine_is_made_again_even_if_nobody_can_take_out_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that carries the whole cluster left nothing behind; else what cannot be asked is told and left."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    for control_planes, told in ((1, []), (3, ["what talos/vm_1 left in the cluster stays until that answers"])):
        said: list[str] = []
        with deployment(blueprint("proxmox-ceph", control_planes=control_planes)) as made:
            made.pretend(
                "talos/cluster",
                name="lab",
                endpoint="https://10.20.0.10:6443",
                talos_version="1.13.9",
                kubernetes_version="1.36.3",
                nodes=[],
                members={},
            )
            assert take_out(Step(made.blueprint, "talos/vm_1", made.instance, said.append), 1) == []
        assert [line.partition(":")[0] for line in said] == told
