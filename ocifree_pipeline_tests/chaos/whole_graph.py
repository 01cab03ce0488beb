"""The whole graph up to SSH, asset by asset and outside of Dagster, and the moment before each asset to go back to.

    with whole_graph(folder, "talos-native") as graph:        # the undisturbed run, once
        with graph.before("oci/network") as here:             # the world, the files and the record of that moment
            here.make("oci/network")

Dagster's executor takes most of the time of a run and keeps a kill from being one, so the bodies of the assets are
called as it would call them: in the order of the graph, recording what they return.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.assets import foundation, images, kubernetes, machines, tenancy
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.definition import Body, Step
from ocifree_pipeline.record.foundation import STORAGE_QUOTA
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.image_hosts import mirror
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline_tests.assets.conftest import UBUNTU, enter, write_key
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running
from ocifree_pipeline_tests.systems.oci.tenancy import world_in_words

NOT_ORACLE = frozenset({"imagefactory", "imagemirror"})
GROUPS = (tenancy, foundation, images, kubernetes, machines)


def bodies(blueprint: Blueprint) -> dict[str, Body]:
    """What the assets up to the machines do, each after all that it hangs on; last the guard that they settle."""
    found: dict[str, tuple[Body, tuple[str, ...]]] = {}

    def note(_blueprint: Blueprint, key: str, body: Body | None, *, deps: Any = (), **_more: Any) -> None:
        if body is not None:
            found[key] = (body, tuple(deps))

    for group in GROUPS:
        with patch.object(group, "define_asset", note):
            list(group.assets(blueprint))
    order: dict[str, Body] = {}

    def after_its_upstreams(key: str) -> None:
        body, deps = found[key]
        for dep in deps:
            if dep in found and dep not in order:
                after_its_upstreams(dep)
        order[key] = body

    for machine in blueprint.plan.machines:
        after_its_upstreams(f"machines/{machine.name}")
    after_its_upstreams(STORAGE_QUOTA)
    return order


@dataclass
class Here:
    """One moment of the graph. `kept` are the facts as they were recorded."""

    sandbox: RunningSandbox
    blueprint: Blueprint
    bodies: dict[str, Body]
    instance: dg.DagsterInstance
    said: list[str] = field(default_factory=list)

    def make(self, key: str) -> Outcome:
        """Materialize one asset. Whatever its body raises comes through, a kill included."""
        outcome = self.bodies[key](Step(self.blueprint, key, self.instance, self.said.append))
        event = dg.AssetMaterialization(asset_key=key.split("/"), metadata=outcome.as_metadata(0.0))
        self.instance.report_runless_asset_event(event)
        return outcome

    def up_to(self, key: str) -> dict[str, Outcome]:
        """As `ocifree up` would: from the first asset to this one."""
        made = {}
        for each in self.bodies:
            made[each] = self.make(each)
            if each == key:
                return made
        raise KeyError(key)

    def everything(self) -> dict[str, Outcome]:
        return self.up_to(list(self.bodies)[-1])

    def in_words(self) -> list[str]:
        """All that stands at Oracle, and no call whose end nobody knows."""
        self.sandbox.advance(3600)
        assert journal_of(self.blueprint.declaration.name).open_intents() == []
        return self.sandbox.inside(world_in_words)

    def keep(self, key: str, metadata: Any) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=key.split("/"), metadata=metadata))


@dataclass(frozen=True)
class Moment:
    """The world and the files of this computer, and what was recorded up to then."""

    world: Path
    home: Path
    recorded: dict[str, Any]


@dataclass
class WholeGraph:
    sandbox: RunningSandbox
    blueprint: Blueprint
    bodies: dict[str, Body]
    environ: dict[str, str]
    folder: Path
    instance: dg.DagsterInstance
    """One for all moments, emptied before each: to make another takes as long as to make an asset."""
    moments: dict[str, Moment] = field(default_factory=dict)
    ends: dict[str, list[str]] = field(default_factory=dict)
    """What stands after each asset, an hour later."""
    operations: dict[str, list[str]] = field(default_factory=dict)
    """The calls of each asset that change something at Oracle, as the sandbox names them."""
    asked: set[str] = field(default_factory=set)
    """All that Oracle was asked."""
    _numbers: Iterator[int] = field(default_factory=count)

    def changing(self) -> list[str]:
        """The assets that change something at Oracle."""
        return [key for key, operations in self.operations.items() if operations]

    @contextmanager
    def before(self, key: str) -> Iterator[Here]:
        """The moment before this asset, in a folder of its own."""
        moment = self.moments[key]
        home = self.folder / f"again-{next(self._numbers)}"
        shutil.copytree(moment.home, home, copy_function=_link_images)
        self._do(self.sandbox.sandbox.restore(moment.world))
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        with self._entered(home) as here:
            for known, metadata in moment.recorded.items():
                here.keep(known, metadata)
            yield here
        shutil.rmtree(home)

    def run_undisturbed(self) -> None:
        """Once from nothing to SSH, keeping the moment before each asset and what stood after it."""
        home = self.folder / "home"
        home.mkdir()
        recorded: dict[str, Any] = {}
        with self._entered(home) as here:
            for number, key in enumerate(self.bodies):
                saved, files = self.folder / f"{number}.tar", self.folder / f"{number}.home"
                self.sandbox.inside(lambda world, to=saved: snapshot.save(world, to))
                shutil.copytree(home, files, copy_function=_link_images)
                self.moments[key] = Moment(saved, files, dict(recorded))
                self.sandbox.recorder.clear()
                recorded[key] = here.make(key).as_metadata(0.0)
                asked = [one for one in self.sandbox.recorder if one.service not in NOT_ORACLE]
                self.operations[key] = [one.operation for one in asked if one.mutating]
                self.asked |= {one.operation for one in asked if "oraclecloud" in one.host}
                # In the undisturbed run time must not jump; so what is there an hour later is looked at aside.
                aside = self.folder / "aside.tar"
                self.sandbox.inside(lambda world, to=aside: snapshot.save(world, to))
                self.ends[key] = here.in_words()
                self._do(self.sandbox.sandbox.restore(aside))

    @contextmanager
    def _entered(self, home: Path) -> Iterator[Here]:
        self.instance.event_log_storage.wipe()
        with pytest.MonkeyPatch.context() as patched:
            enter(patched, self.sandbox, {**self.environ, "DAGSTER_HOME": str(home)})
            yield Here(self.sandbox, self.blueprint, self.bodies, self.instance)

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.sandbox.loop).result(timeout=30)


@contextmanager
def whole_graph(folder: Path, topology: str, change: Callable[[Any], None] | None = None) -> Iterator[WholeGraph]:
    """The deployment as the demo declares it, made once. `change` may alter what is declared."""
    identity, public = write_key(folder)
    allowance = {"a1_ocpus": 4, "a1_memory_gb": 24} if topology == "proxmox-ceph" else {}
    (folder / "sandbox").mkdir()
    with running(folder / "sandbox", mode="manual", profile=Profile(account="payg", **allowance)) as sandbox:
        config = folder / "oci.cfg"
        config.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in sandbox.config.items()))
        config.chmod(0o600)
        data = yaml.safe_load(example(topology))
        data["site"]["credentials"] = {"config_file": str(config)}
        data["access"] = {"ssh_public_keys": [public]}
        data.get("kubernetes", {}).pop("tailscale_operator", None)
        offered = mirror.offered()
        data["images"] = {"base_hardened_amd64": {"platform": UBUNTU}}
        if topology == "proxmox-ceph":
            data["images"] = {
                name: {"prebuilt": asdict(offered[name])} for name in ("base_hardened_amd64", "proxmox_ampere")
            }
        if change:
            change(data)
        assert sandbox.sandbox.home is not None
        environ = {
            "HTTPS_PROXY": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}",
            "REQUESTS_CA_BUNDLE": str(sandbox.sandbox.home.ca_file),
            "OCIFREE_SSH_IDENTITY": str(identity),
            "NO_PROXY": "localhost,127.0.0.1",
        }
        blueprint = blueprint_of(parse(yaml.safe_dump(data)))
        with dg.DagsterInstance.ephemeral() as instance:
            graph = WholeGraph(sandbox, blueprint, bodies(blueprint), environ, folder, instance)
            graph.run_undisturbed()
            yield graph


def _link_images(source: str, target: str) -> None:
    """Disk images are only ever written anew, so a second name for the same file will do."""
    if source.endswith(".qcow2"):
        with contextlib.suppress(OSError):
            Path(target).hardlink_to(source)
            return
    shutil.copy2(source, target)
