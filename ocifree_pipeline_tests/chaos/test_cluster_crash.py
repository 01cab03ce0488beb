"""From a node without a configuration to a kubeconfig, killed at every step that changes something: one cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest

from ocifree_pipeline.assets import cluster as assets
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline.sandbox.talos import etcd, life
from ocifree_pipeline.sandbox.talos.node import nodes
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.secrets.vault import Vault, vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.chaos.crash import crash_everywhere
from ocifree_pipeline_tests.chaos.doors import Calls, talos

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("crash")) as found:
        yield found


_numbers = count()


def kept(calls: Calls) -> AbstractContextManager[object]:
    """What is written on this computer: the vault, the file."""

    def dying(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **more: calls.make(name, lambda: work(*given, **more))

    stack = ExitStack()
    stack.enter_context(patch.object(Vault, "put", dying("vault", Vault.put)))
    stack.enter_context(patch.object(assets, "write_private", dying("file", assets.write_private)))
    return stack


def empty(world: World) -> None:
    """The node came up without anything."""
    found = next(nodes(world))
    life.wipe(found, {"STATE", "EPHEMERAL"})
    world.table("instance")[found.key].body["metadata"].pop("user_data")
    power.restart(found.computer)


def make(deployment: Deployment) -> None:
    """What the assets do, outside of Dagster, which would keep a kill from being one."""
    for key, body in ((CLUSTER, assets.materialize_cluster), (KUBECONFIG, assets.materialize_kubeconfig)):
        outcome = body(Step(deployment.blueprint, key, deployment.instance, lambda line: None))
        deployment.instance.report_runless_asset_event(
            dg.AssetMaterialization(asset_key=key.split("/"), metadata=outcome.as_metadata(0.0))
        )


def look(deployment: Deployment) -> object:
    assert journal_of("lab").open_intents() == []
    file = Path(deployment.facts(KUBECONFIG)["file"])
    assert file.read_text() == vault_of("lab").get(KUBECONFIG).get_secret_value()
    found = deployment.sandbox.inside(
        lambda world: [(len(one["members"]), one["count"], one["serves"]) for one in etcd.of_world(world).values()]
    )
    assert found == [(1, 1, True)]
    return found


@contextmanager
def bare(stood: Standing, folder: Path) -> Iterator[Deployment]:
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patched, stood.again(folder / str(next(_numbers)), patched) as found:
        found.sandbox.inside(empty)
        found.sandbox.advance(120)
        yield found


def test_one_cluster_whenever_the_process_dies(stood: Standing, tmp_path: Path) -> None:
    rows = crash_everywhere(partial(bare, stood, tmp_path), make, look, doors=(talos, kept), repeated=("file",))
    assert [row.call for row in rows[::2]] == ["ApplyConfiguration", "Bootstrap", "vault", "file"]
