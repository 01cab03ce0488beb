"""ssh, console, logs, verify --phase, up --from: the real OpenSSH through the bastion and the proxy of the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.examples import example, example_path
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.systems.ssh.host_keys import host_keys_of
from ocifree_pipeline_tests.assets.conftest import Deployment, _proxmox_ground, proxmox
from ocifree_pipeline_tests.cli.conftest import Ocifree

__all__ = ["_proxmox_ground", "proxmox"]

BASTION, AMPERE = "machines/bastion", "machines/ampere_1"


@pytest.fixture
def standing(proxmox: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Two machines, and a history on disk that commands in other processes can read."""
    proxmox.materialize(BASTION, AMPERE)
    declaration = proxmox.blueprint.declaration
    data = yaml.safe_load(example("proxmox-ceph"))
    data["site"]["credentials"] = {"config_file": str(declaration.site.credentials.config_file)}
    data["access"] = {"ssh_public_keys": list(map(str, declaration.access.ssh_public_keys))}
    data["kubernetes"].pop("tailscale_operator", None)
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(data))
    monkeypatch.setenv("OCIFREE_DEPLOYMENT", str(tmp_path / "deployment.yaml"))
    ensure_home()
    with dg.DagsterInstance.get() as instance:
        for key in (BASTION, AMPERE, "oci/network"):
            facts = dg.MetadataValue.json(proxmox.facts(key))
            instance.report_runless_asset_event(dg.AssetMaterialization(key.split("/"), metadata={"facts": facts}))
    return proxmox


def ocifree_process(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ocifree_pipeline.cli.app", *words],
        env=dict(os.environ), cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.long
def test_openssh_over_bastion_and_proxy_trusts_the_pinned_key_alone(
    standing: Deployment, tmp_path: Path, ocifree: Ocifree
) -> None:
    for machine, architecture in (("ampere_1", "aarch64"), ("bastion", "x86_64")):
        done = ocifree_process("ssh", machine, "uname", "-m", cwd=tmp_path)
        assert (done.stdout.strip(), done.returncode) == (architecture, 0), done.stderr
    keys = host_keys_of("lab")
    pinned = {key.machine: key for key in (*keys.of("bastion"), *keys.of("ampere_1"))}
    text = keys.file.read_text()
    keys.file.write_text(text.replace(pinned["ampere_1"].blob, pinned["bastion"].blob))
    done = ocifree_process("ssh", "ampere_1", "uname", "-m", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    keys.file.write_text(text)

    shown = ocifree("console", "ampere_1", "--json")
    assert shown.exit_code == Exit.OK, shown.output
    assert standing.facts(AMPERE)["host_key"] in json.loads(shown.stdout)["console"]


def test_a_machine_of_another_name_is_told_from_one_that_is_missing(
    dagster_home: Path, ocifree: Ocifree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCIFREE_DEPLOYMENT", str(example_path("talos-native")))
    wrong = ocifree("console", "ampere_9")
    assert wrong.exit_code == Exit.USAGE
    assert "choose one of" in wrong.output
    missing = ocifree("ssh", "bastion")
    assert missing.exit_code == Exit.FAILED
    assert "ocifree up --select 'machines/bastion'" in missing.output


def test_logs_tell_what_was_said_and_how_it_failed(
    dagster_home: Path, ocifree: Ocifree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCIFREE_DEPLOYMENT", str(example_path("talos-native")))
    nothing = ocifree("logs", "oci/network")
    assert (nothing.exit_code, "no run has made oci/network yet" in nothing.output) == (Exit.NOT_READY, True)

    @dg.asset(key=["oci", "network"])
    def network(context) -> None:  # type: ignore[no-untyped-def]
        context.log.info("create vcn lab-vcn")
        raise dg.Failure(description="Oracle said no\n  fix: ocifree doctor", allow_retries=False)

    with dg.DagsterInstance.get() as instance:
        dg.materialize([network], instance=instance, raise_on_error=False)
    told = ocifree("logs", "oci/network")
    assert told.exit_code == Exit.OK
    assert "oci/network" in told.stdout
    assert "create vcn lab-vcn" in told.stdout
    assert "Oracle said no" in told.stdout
    assert "fix: ocifree doctor" in told.stdout
    found = json.loads(ocifree("logs", "--json").stdout)
    assert [line["level"] for line in found["lines"]][:2] == ["INFO", "ERROR"]


@cache
def graph_of(name: str) -> Any:
    return definitions_for(blueprint_of(parse(example(name)))).resolve_asset_graph()


@pytest.mark.filterwarnings("ignore:.*include_sources")
@pytest.mark.parametrize("phase", ["images", "oci", "proxmox", "kubernetes", "monitoring", "cost"])
def test_every_phase_of_the_verification_has_checks(phase: str) -> None:
    from ocifree_pipeline.cli.verify import PHASES

    graph = graph_of("proxmox-ceph")
    keys = dg.AssetSelection.from_string(PHASES[phase]).resolve(graph)
    assert [key for key in graph.asset_check_keys if key.asset_key in keys]


def test_words_that_make_no_sense_are_refused(ocifree: Ocifree) -> None:
    assert (
        ocifree("verify", "--phase", "moon", "--deployment", str(example_path("talos-native"))).exit_code == Exit.USAGE
    )
    assert ocifree("up", "--yes", "--select", "a", "--from", "b").exit_code == Exit.USAGE


@pytest.mark.filterwarnings("ignore:.*include_sources")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("*", None),
        ("talos/cluster", {"talos/cluster"}),
        ("talos/secrets or talos/kubeconfig", {"talos/secrets", "talos/kubeconfig"}),
        ("+machines/bastion and group:images", set()),
        ("oci/custom_image/*", {"oci/custom_image/base_hardened_amd64", "oci/custom_image/talos_oracle"}),
        ('key:"oci/network"', {"oci/network"}),
        ("group:tenancy and not tenancy/limits", {"tenancy/plan", "tenancy/guardrails", "tenancy/storage_quota"}),
    ],
)
def test_keys_may_stand_bare_in_a_selection(typed: str, meant: set[str] | None) -> None:
    from ocifree_pipeline.cli.selection import dagster_selection

    graph = graph_of("talos-native")

    def keys(text: str) -> set[str]:
        found = dg.AssetSelection.from_string(dagster_selection(text)).resolve(graph)
        return {key.to_user_string() for key in found}

    if meant is None:
        assert len(keys(typed)) > 20
    elif "+" not in typed:
        assert keys(typed) == meant
    assert {"talos/kubeconfig", "platform/gateway"} <= keys("talos/cluster+"), "not one step only"


def test_from_is_short_for_what_hangs_on_it() -> None:
    from ocifree_pipeline.cli.up import selection_of

    assert selection_of("*", "talos/cluster") == "talos/cluster+"
    assert selection_of("group:images", None) == "group:images"
