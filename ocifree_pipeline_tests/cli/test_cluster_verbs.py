"""ocifree kubeconfig and talosconfig: files that only their owner reads, and words that give nothing away."""

from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from cryptography import x509
from pydantic import SecretStr

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.record.cluster import KUBECONFIG, KubeconfigFacts
from ocifree_pipeline.record.machines import InstanceFacts
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.talos import SECRETS, MachineConfigFacts, SecretsFacts
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of, served_at
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline.systems.talos.secrets import Bundle, as_file, encoded, new_bundle
from ocifree_pipeline_tests.cli.conftest import Ocifree

ADDRESS = "10.0.0.10"
SERVER = "https://lab-ampere-1.public.lab.oraclevcn.com:6443"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return new_bundle(datetime.now(UTC))


@pytest.fixture
def recorded(dagster_home: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> str:
    """A deployment that has all this, as far as its history says. The kubeconfig is what comes out."""
    (tmp_path / "deployment.yaml").write_text(example("talos-native"))
    monkeypatch.setenv("OCIFREE_DEPLOYMENT", str(tmp_path / "deployment.yaml"))
    pair = bundle.kubernetes
    text = yaml.safe_dump(
        {
            "current-context": "admin",
            "contexts": [{"name": "admin", "context": {"cluster": "lab", "user": "admin"}}],
            "clusters": [
                {"name": "lab", "cluster": {"server": SERVER, "certificate-authority-data": encoded(pair.certificate)}}
            ],
            "users": [
                {"name": "admin", "user": {"client-certificate-data": encoded(pair.certificate), "token": "hush"}}
            ],
        }
    )
    vault_of("lab").put({SECRETS: as_file(bundle), KUBECONFIG: SecretStr(text)})
    machine = dict.fromkeys(InstanceFacts.model_fields, "x") | {
        "name": "ampere_1", "ocpus": 2, "memory_gb": 12, "private_ip": ADDRESS, "answers": "talos",
    }  # fmt: skip
    config = dict.fromkeys(MachineConfigFacts.model_fields, "x") | {"hostname": "lab-1", "role": "controlplane"}
    facts: dict[str, Facts] = {
        SECRETS: SecretsFacts(vault=SECRETS, fingerprints=bundle.fingerprints(), expires=bundle.expiries()),
        "talos/machine_config_1": MachineConfigFacts(**config),
        "machines/ampere_1": InstanceFacts(**machine),
        KUBECONFIG: KubeconfigFacts(
            file=str(tmp_path / "kubeconfig.yaml"), vault=KUBECONFIG, server=SERVER, expires=datetime.now(UTC)
        ),
    }
    with dg.DagsterInstance.get() as instance:
        for key, found in facts.items():
            data = dg.MetadataValue.json(found.model_dump(mode="json"))
            instance.report_runless_asset_event(dg.AssetMaterialization(key.split("/"), metadata={"facts": data}))
    return text


def test_a_talosconfig_has_a_new_certificate_and_the_address_of_every_node(
    recorded: str, ocifree: Ocifree, bundle: Bundle, tmp_path: Path
) -> None:
    file = tmp_path / "talosconfig.yaml"
    done = ocifree("talosconfig", "-o", str(file))
    assert done.exit_code == Exit.OK, done.output
    assert f"export TALOSCONFIG={file}" in done.output.replace("\n", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    context = yaml.safe_load(file.read_text())["contexts"]["lab"]
    assert (context["endpoints"], context["nodes"]) == ([ADDRESS], [ADDRESS])
    made = x509.load_pem_x509_certificate(base64.b64decode(context["crt"]))
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(bundle.talos.certificate.encode()))
    assert "os:admin" in made.subject.rfc4514_string()
    assert timedelta(days=29) < made.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=30)
    assert base64.b64decode(context["key"]).startswith(b"-----BEGIN ED25519 PRIVATE KEY-----")
    assert "PRIVATE KEY" not in done.output


def test_the_kubeconfig_is_written_where_it_was_and_wherever_one_wants(
    recorded: str, ocifree: Ocifree, tmp_path: Path
) -> None:
    for words, file in ((), tmp_path / "kubeconfig.yaml"), (("-o", "mine.yaml"), tmp_path / "mine.yaml"):
        done = ocifree("kubeconfig", *words)
        assert done.exit_code == Exit.OK, done.output
        assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (recorded, 0o600)
        assert "hush" not in done.output


@pytest.mark.parametrize("verb", ["kubeconfig", "talosconfig"])
def test_without_a_cluster_it_says_what_comes_first(
    verb: str, dagster_home: Path, ocifree: Ocifree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deployment.yaml").write_text(example("talos-native"))
    monkeypatch.setenv("OCIFREE_DEPLOYMENT", str(tmp_path / "deployment.yaml"))
    done = ocifree(verb)
    assert done.exit_code != Exit.OK
    assert "has not been materialized" in done.output
    assert "ocifree up --select" in done.output


def test_a_forwarded_kubeconfig_still_asks_for_the_name_of_the_cluster(recorded: str) -> None:
    near = served_at(SecretStr(recorded), "127.0.0.1", 40001)
    (entry,) = yaml.safe_load(near.get_secret_value())["clusters"]
    assert entry["cluster"]["server"] == "https://127.0.0.1:40001"
    assert credentials_of(near).host == credentials_of(SecretStr(recorded)).host
