"""talosctl, unmodified, against nodes of the sandbox: what people type is answered as they expect it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.systems.kube.api import api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline.systems.ssh.dialer import Dialer
from ocifree_pipeline.systems.ssh.forward import forwarded
from ocifree_pipeline.systems.ssh.host_keys import HostKeys
from ocifree_pipeline.systems.talos.certificates import new_client
from ocifree_pipeline.systems.talos.talosconfig import talosconfig
from ocifree_pipeline_tests.assets.test_kubernetes import blueprint, deployment
from ocifree_pipeline_tests.real.programs import program
from ocifree_pipeline_tests.sandbox.talos.lab import KUBERNETES, SETTLED, Lab, Machine, bundle, lab
from ocifree_pipeline_tests.sandbox.talos.test_health import NETWORK
from ocifree_pipeline_tests.sandbox.talos_nodes import INSTALLER, configuration

pytestmark = [pytest.mark.real("talosctl"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    program("talosctl")
    with lab(tmp_path_factory.mktemp("talos")) as made:
        yield made


@pytest.fixture
def here(ground: Lab) -> Iterator[Lab]:
    yield ground
    ground.clear()


@dataclass
class Hand:
    """Who types, in a folder of their own; what is dialled is the near end of a forward."""

    folder: Path

    def types(self, machine: Machine, *words: str, fails: bool = False) -> str:
        with self._near(machine) as (host, port):
            kept = talosconfig(
                "lab",
                bundle().talos.certificate,
                new_client(bundle().talos, datetime.now(UTC)),
                [f"{host}:{port}"],
                [machine.ip],
            )
            file = self.folder / "talosconfig"
            file.touch(0o600)
            file.write_text(kept.get_secret_value())
            return self._said("--talosconfig", str(file), *words, fails=fails)

    def types_to_a_stranger(self, machine: Machine, *words: str, fails: bool = False) -> str:
        with self._near(machine) as (host, port):
            return self._said(*words, "--insecure", "--nodes", f"{host}:{port}", fails=fails)

    def judges(self, *words: str) -> str:
        return self._said(*words, fails=False)

    @contextmanager
    def _near(self, machine: Machine) -> Iterator[tuple[str, int]]:
        address = machine.reached().address
        assert address is not None
        with forwarded(Dialer(HostKeys(self.folder / "known_hosts"), environ={}), *address) as near:
            yield near

    def _said(self, *words: str, fails: bool) -> str:
        done = subprocess.run(
            [program("talosctl"), *words],
            cwd=self.folder,
            env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path)


def test_from_a_stranger_to_a_kubeconfig_that_opens(here: Lab, hand: Hand) -> None:
    machine = here.machine()
    file = hand.folder / "machine.yaml"
    file.touch(0o600)
    file.write_text(configuration(bundle(), hostname="lab-1"))
    hand.types_to_a_stranger(machine, "apply-config", "--file", str(file))
    here.here.wait(SETTLED)

    version = hand.types(machine, "version")
    assert re.search(r"Server:\s+NODE:\s+10\.", version)
    assert version.count("v1.13") >= 1
    hand.types(machine, "bootstrap")
    here.here.wait(SETTLED)
    assert "AlreadyExists" in hand.types(machine, "bootstrap", fails=True)
    assert "lab-1" in hand.types(machine, "etcd", "members")
    assert "3.6" in hand.types(machine, "etcd", "status")

    hand.types(machine, "kubeconfig", "--merge=false", "--force", str(hand.folder / "kubeconfig"))
    kept = SecretStr((hand.folder / "kubeconfig").read_text())
    address = machine.reached(KUBERNETES).address
    assert address is not None
    with api_at(address, credentials_of(kept)) as api:
        assert api.version() == "1.36.3"


def test_a_node_is_looked_at(here: Lab, hand: Hand) -> None:
    (machine,) = here.bootstrapped()
    services = hand.types(machine, "services")
    assert re.search(r"etcd\s+Running\s+OK", services)
    assert re.search(r"kubelet\s+Running\s+OK", services)
    assert hand.types(machine, "logs", "etcd")
    assert hand.types(machine, "dmesg")
    assert "NTP-SERVER" in hand.types(machine, "time")


def test_a_configuration_that_is_the_same_changes_nothing(here: Lab, hand: Hand) -> None:
    (machine,) = here.bootstrapped()
    file = hand.folder / "machine.yaml"
    file.touch(0o600)
    text = configuration(bundle(), hostname="lab-1")
    file.write_text(text)
    assert "No changes" in hand.types(machine, "apply-config", "--file", str(file), "--dry-run")
    changed = list(yaml.safe_load_all(text))
    changed[0]["machine"]["sysctls"] = {**changed[0]["machine"].get("sysctls", {}), "vm.swappiness": "1"}
    file.write_text(yaml.safe_dump_all(changed))
    assert "No changes" not in hand.types(machine, "apply-config", "--file", str(file), "--dry-run")
    hand.types(machine, "apply-config", "--file", str(file), "--mode", "no-reboot")
    assert "No changes" in hand.types(machine, "apply-config", "--file", str(file), "--dry-run")


def test_a_cluster_is_healthy_and_says_when_it_is_not(here: Lab, hand: Hand) -> None:
    machines = here.control_planes(3, patches=[NETWORK])
    assert 'service "etcd" not in expected state' in hand.types(machines[0], "health", fails=True)
    hand.types(machines[0], "bootstrap")
    here.here.wait(2 * SETTLED)
    assert "all k8s nodes to report ready: OK" in hand.types(machines[0], "health")
    everybody = ",".join(one.ip for one in machines)
    members = hand.types(machines[0], "--nodes", everybody, "etcd", "members")
    assert all(len(re.findall(rf"^{one.ip} ", members, re.MULTILINE)) == 3 for one in machines)


def test_a_node_starts_again_and_comes_back(here: Lab, hand: Hand) -> None:
    (machine,) = here.bootstrapped()
    hand.types(machine, "reboot", "--wait=false")
    here.here.wait(SETTLED)
    assert re.search(r"etcd\s+Running\s+OK", hand.types(machine, "services"))


def test_a_node_is_upgraded_and_says_its_new_version(here: Lab, hand: Hand) -> None:
    (machine,) = here.bootstrapped()
    before = _server(hand.types(machine, "version"))
    image = INSTALLER.format(version="1.13.10")
    assert "the sandbox does not play /cosi.resource.State/" in hand.types(machine, "get", "nodename", fails=True)
    hand.types(machine, "upgrade", "--image", image, "--drain=false", "--wait=false")
    here.here.wait(2 * SETTLED)
    assert (before, _server(hand.types(machine, "version"))) == ("v1.13.9", "v1.13.10")
    assert re.search(r"etcd\s+Running\s+OK", hand.types(machine, "services"))
    assert "lab-1" in hand.types(machine, "etcd", "members")


def _server(said: str) -> str:
    found = re.search(r"Server:.*?Tag:\s+(\S+)", said, re.DOTALL)
    assert found is not None, said
    return found[1]


def test_a_snapshot_of_etcd_is_one_that_talosctl_can_read(here: Lab, hand: Hand) -> None:
    (machine,) = here.bootstrapped()
    said = hand.types(machine, "etcd", "snapshot", str(hand.folder / "etcd.db"))
    assert "snapshot info: hash" in said
    assert (hand.folder / "etcd.db").stat().st_size > 0


@pytest.mark.parametrize("topology", ["talos-native", "proxmox-ceph"])
@pytest.mark.parametrize(
    "declared", [{}, {"gateway": {"enabled": False}, "flux": {"enabled": False}}], ids=["example", "nothing"]
)
def test_what_the_assets_write_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hand: Hand, topology: str, declared: dict[str, Any]
) -> None:
    """With everything that is patched in: the manifests of the first minute, and where logs go."""
    program("talosctl")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with deployment(blueprint(topology, **declared)) as made:
        plan = made.blueprint.plan
        count = len(plan.ampere if topology == "talos-native" else plan.guests)
        keys = [f"talos/machine_config_{number}" for number in range(1, count + 1)]
        made.materialize("talos/secrets", *keys)
        kept = vault_of(made.blueprint.declaration.name)
        for key in keys:
            file = tmp_path / "machine.yaml"
            file.touch(0o600)
            file.write_text(kept.get(key).get_secret_value())
            for mode in ("cloud", "metal"):
                assert "is valid" in hand.judges("validate", "--strict", "--config", str(file), "--mode", mode)
