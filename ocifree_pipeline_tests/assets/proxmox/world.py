"""A deployment whose Proxmox machines stand: the ready-made images of the demo, the real graph up to SSH."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.cli.demo import declaration_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.proxmox import nodes_of
from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.tailscale import tailnet
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline_tests.assets.conftest import FOUNDATION, Deployment, enter, write_key
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

IMAGES = ["base_hardened_amd64", "proxmox_ampere"]
MACHINES = ["machines/bastion", "machines/ampere_1", "machines/ampere_2", "machines/ampere_3"]
CLIENT = {"client_id": "env:TS_CLIENT_ID", "client_secret": "env:TS_CLIENT_SECRET"}


@dataclass
class Standing:
    """Kept as a snapshot and a home, to begin from again and again."""

    sandbox: RunningSandbox
    blueprint: Blueprint
    environ: dict[str, str]
    snapshot: Path
    home: Path
    facts: dict[str, dict[str, Any]]

    @contextmanager
    def again(self, home: Path, patch: pytest.MonkeyPatch) -> Iterator[Deployment]:
        restored = self.sandbox.sandbox.restore(self.snapshot)
        asyncio.run_coroutine_threadsafe(restored, self.sandbox.loop).result(timeout=30)
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        shutil.copytree(self.home, home)
        enter(patch, self.sandbox, {**self.environ, "DAGSTER_HOME": str(home)})
        with dg.DagsterInstance.ephemeral() as instance:
            found = Deployment(self.sandbox, self.blueprint, instance)
            for key, facts in self.facts.items():
                found.pretend(key, **facts)
            yield found

    def with_more(self, folder: Path, *keys: str) -> Standing:
        """The same with more of the graph made, by the real assets."""
        with pytest.MonkeyPatch.context() as patch, self.again(folder / "home", patch) as here:
            here.materialize(*keys)
            facts = self.facts | {key: here.facts(key) for key in keys}
            saved = here.sandbox.inside(lambda world: snapshot.save(world, folder / "standing.tar"))
        return Standing(self.sandbox, self.blueprint, self.environ, saved, folder / "home", facts)


@contextmanager
def standing(folder: Path) -> Iterator[Standing]:
    identity, public = write_key(folder)
    (folder / "sandbox").mkdir()
    profile = Profile(account="payg", a1_ocpus=4, a1_memory_gb=24)
    with running(folder / "sandbox", mode="immediate", profile=profile) as sandbox:
        config = folder / "oci.cfg"
        config.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in sandbox.config.items()))
        config.chmod(0o600)
        data = yaml.safe_load(declaration_for("proxmox-ceph", public, config))
        data["access"]["tailscale"] = {"enabled": True, "oauth": CLIENT}
        blueprint = blueprint_of(parse(yaml.safe_dump(data)))
        assert sandbox.sandbox.home is not None
        environ = {
            "HTTPS_PROXY": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}",
            "REQUESTS_CA_BUNDLE": str(sandbox.sandbox.home.ca_file),
            "OCIFREE_SSH_IDENTITY": str(identity),
            "NO_PROXY": "localhost,127.0.0.1",
            "TS_CLIENT_ID": tailnet.CLIENT[0],
            "TS_CLIENT_SECRET": tailnet.CLIENT[1],
        }
        home = folder / "home"
        with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
            enter(patch, sandbox, {**environ, "DAGSTER_HOME": str(home)})
            first = Deployment(sandbox, blueprint, instance)
            images = [f"{kind}/{name}" for name in IMAGES for kind in ("images", "oci/custom_image")]
            made = [*FOUNDATION, "oci/image_bucket", *images, *MACHINES]
            first.materialize(*made)
            facts = {key: first.facts(key) for key in made}
            saved = sandbox.inside(lambda world: snapshot.save(world, folder / "standing.tar"))
        yield Standing(sandbox, blueprint, environ, saved, home, facts)


@contextmanager
def root_of(here: Deployment, machine: str) -> Iterator[Node]:
    """Root on one machine, over the way that production takes."""
    plan = here.blueprint.plan
    step = Step(here.blueprint, "test", here.instance, print)
    with nodes_of(step, [one for one in plan.machines if one.name == machine]) as (node,):
        yield node
