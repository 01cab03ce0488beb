"""A deployment against a sandbox: the real graph, the real SDK through the proxy door, a clock that never waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import dagster as dg
import pytest
import yaml

from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

if TYPE_CHECKING:
    from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph

FOUNDATION = ["tenancy/limits", "tenancy/plan", "tenancy/guardrails", "oci/network", "oci/reserved_ips"]
UBUNTU = {"operating_system": "Canonical Ubuntu", "version": "24.04"}


Sandboxed = tuple[RunningSandbox, Blueprint, dict[str, str]]


@dataclass
class Deployment:
    """The graph of one declaration, its history, and the sandbox that it makes things in."""

    sandbox: RunningSandbox
    blueprint: Blueprint
    instance: dg.DagsterInstance
    definitions: dg.Definitions = field(init=False)

    def __post_init__(self) -> None:
        self.definitions = definitions_for(self.blueprint)

    def materialize(self, *keys: str, good: bool = True) -> dg.ExecuteInProcessResult:
        """These assets and their checks, in one run."""
        selection = dg.AssetSelection.assets(*(key.split("/") for key in keys))
        job = dg.define_asset_job("selected", selection=selection)
        picked = dg.Definitions(assets=self.definitions.assets, asset_checks=self.definitions.asset_checks, jobs=[job])
        result = picked.resolve_job_def("selected").execute_in_process(instance=self.instance, raise_on_error=False)
        if good:
            assert result.success, [
                event.step_failure_data.error for event in result.all_events if event.is_step_failure
            ]
        return result

    def pretend(self, key: str, **facts: Any) -> None:
        """What an asset would have recorded that is not under test."""
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key=key.split("/"), metadata={"facts": dg.MetadataValue.json(facts)})
        )

    def metadata(self, key: str) -> dict[str, Any]:
        event = self.instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def facts(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.metadata(key)["facts"]
        return found

    def errors(self, result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
        """What failed, by step, with what its error said."""
        found = {}
        for event in result.all_events:
            if event.is_step_failure:
                data = event.step_failure_data.user_failure_data
                found[str(event.step_key)] = {k: v.value for k, v in data.metadata.items()} if data else {}
        return found

    def mutations(self) -> int:
        return self.sandbox.recorder.count(mutating=True)

    def client(self, kind: Any) -> Any:
        return self.sandbox.client(kind)

    def image_for_a1(self) -> str:
        import oci

        compute = self.client(oci.core.ComputeClient)
        shape = "VM.Standard.A1.Flex"
        return str(
            compute.list_images(self.sandbox.tenancy, operating_system="Canonical Ubuntu", shape=shape).data[0].id
        )


def write_key(folder: Path) -> tuple[Path, str]:
    key = asyncssh.generate_private_key("ssh-ed25519", comment="test@example")
    path = folder / "id_ed25519"
    key.write_private_key(str(path))
    path.chmod(0o600)
    return path, key.export_public_key().decode().strip()


@dataclass
class Ground:
    """A sandbox in which the foundation stands, to begin from again and again: building it takes seconds."""

    sandbox: RunningSandbox
    blueprint: Blueprint
    environ: dict[str, str]
    snapshot: Path
    facts: dict[str, dict[str, Any]]

    @contextmanager
    def again(self, home: Path, patch: pytest.MonkeyPatch) -> Iterator[Deployment]:
        self._do(self.sandbox.sandbox.restore(self.snapshot))
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        enter(patch, self.sandbox, {**self.environ, "DAGSTER_HOME": str(home)})
        with dg.DagsterInstance.ephemeral() as instance:
            found = Deployment(self.sandbox, self.blueprint, instance)
            for key, facts in self.facts.items():
                found.pretend(key, **facts)
            yield found

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.sandbox.loop).result(timeout=30)


@contextmanager
def _sandboxed(
    folder: Path, topology: str, profile: dict[str, Any]
) -> Iterator[tuple[RunningSandbox, Blueprint, dict[str, str]]]:
    """A sandbox, the blueprint of an example in it, and the variables that lead there."""
    identity, public = write_key(folder)
    a1 = {"a1_ocpus": 4, "a1_memory_gb": 24} if topology == "proxmox-ceph" else {}
    (folder / "sandbox").mkdir(exist_ok=True)
    with running(folder / "sandbox", mode="manual", profile=Profile(**{"account": "payg", **a1, **profile})) as sandbox:
        config = folder / "oci.cfg"
        config.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in sandbox.config.items()))
        config.chmod(0o600)
        data = yaml.safe_load(example(topology))
        data["site"]["credentials"] = {"config_file": str(config)}
        data["access"] = {"ssh_public_keys": [public]}
        data.get("kubernetes", {}).pop("tailscale_operator", None)
        data.setdefault("images", {})["base_hardened_amd64"] = {"platform": UBUNTU}
        assert sandbox.sandbox.home is not None
        environ = {
            "HTTPS_PROXY": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}",
            "REQUESTS_CA_BUNDLE": str(sandbox.sandbox.home.ca_file),
            "OCIFREE_SSH_IDENTITY": str(identity),
            "NO_PROXY": "localhost,127.0.0.1",
        }
        yield sandbox, blueprint_of(parse(yaml.safe_dump(data))), environ


@contextmanager
def deployment(folder: Path, patch: pytest.MonkeyPatch, *, topology: str, **profile: Any) -> Iterator[Deployment]:
    """A deployment of which nothing stands yet."""
    with _sandboxed(folder, topology, profile) as (sandbox, blueprint, environ):
        enter(patch, sandbox, {**environ, "DAGSTER_HOME": str(folder / "home")})
        with dg.DagsterInstance.ephemeral() as instance:
            yield Deployment(sandbox, blueprint, instance)


@contextmanager
def ground(folder: Path, *, topology: str, **profile: Any) -> Iterator[Ground]:
    """The foundation, made by the real assets."""
    with _sandboxed(folder, topology, profile) as (sandbox, blueprint, environ):
        with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
            enter(patch, sandbox, {**environ, "DAGSTER_HOME": str(folder / "home")})
            first = Deployment(sandbox, blueprint, instance)
            made = [*FOUNDATION, "images/base_hardened_amd64"]
            first.materialize(*made)
            facts = {key: first.facts(key) for key in made}
            if topology == "proxmox-ceph":
                facts["oci/custom_image/proxmox_ampere"] = a1_image(first.image_for_a1())
            saved = sandbox.inside(lambda world: snapshot.save(world, folder / "ground.tar"))
        yield Ground(sandbox, blueprint, environ, saved, facts)


def a1_image(ocid: str) -> dict[str, Any]:
    """What an import would have recorded."""
    return {"ocid": ocid, "sha256": "0" * 64, "firmware": "UEFI_64", "shapes": ["VM.Standard.A1.Flex"]}


def enter(patch: pytest.MonkeyPatch, sandbox: RunningSandbox, environ: dict[str, str]) -> None:
    for name, value in environ.items():
        patch.setenv(name, value)
    clock = _MainClock(sandbox, time.sleep, time.monotonic)
    patch.setattr(time, "sleep", clock.sleep)
    patch.setattr(time, "monotonic", clock.monotonic)


@dataclass
class _MainClock:
    """Whoever waits in the main thread lets the virtual time pass; threads of libraries wait as they would.

    What was slept has passed on the clock too, or waiting in vain would take as long as it says.
    """

    sandbox: RunningSandbox
    really_sleep: Callable[[float], None]
    really_monotonic: Callable[[], float]
    slept: float = 0.0

    def sleep(self, seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            self.slept += seconds
            self.sandbox.advance(seconds)
        else:
            self.really_sleep(seconds)

    def monotonic(self) -> float:
        is_main = threading.current_thread() is threading.main_thread()
        return self.really_monotonic() + (self.slept if is_main else 0.0)


@pytest.fixture(scope="session")
def _proxmox_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("proxmox"), topology="proxmox-ceph") as found:
        yield found


@pytest.fixture
def proxmox(_proxmox_ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Up to the network, with an image for A1 pretended."""
    with _proxmox_ground.again(tmp_path / "home", monkeypatch) as found:
        yield found


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGraph]:
    """The whole graph of talos-native up to SSH, and every moment of it to go back to."""
    from ocifree_pipeline_tests.chaos.whole_graph import whole_graph

    with whole_graph(tmp_path_factory.mktemp("native"), "talos-native") as made:
        yield made
