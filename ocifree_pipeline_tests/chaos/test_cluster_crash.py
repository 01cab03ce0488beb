"""From a node without a configuration to a kubeconfig, killed at every step that changes something: one cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from ocifree_pipeline.systems.talos.channel import Conversation
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.chaos.crash import Killed

pytestmark = pytest.mark.timeout(900)

WRITES = ("ApplyConfiguration", "Bootstrap")


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("crash")) as found:
        yield found


@contextmanager
def counted(kill_at: int | None = None, moment: str = "before") -> Iterator[list[str]]:
    """What changed something: calls of Talos, the vault, the file. Die at one of them."""
    done: list[str] = []

    def dying(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            if name == "call" and (not arguments[1].endswith(WRITES) or more.get("dry_run")):
                return work(*arguments, **more)
            done.append(arguments[1].rpartition("/")[2] if name == "call" else name)
            if len(done) == kill_at and moment == "before":
                raise Killed(done[-1])
            answer = work(*arguments, **more)
            if len(done) == kill_at:
                raise Killed(done[-1])
            return answer

        return step

    with ExitStack() as stack:
        stack.enter_context(patch.object(Conversation, "call", dying("call", Conversation.call)))
        stack.enter_context(patch.object(Vault, "put", dying("vault", Vault.put)))
        stack.enter_context(patch.object(assets, "write_private", dying("file", assets.write_private)))
        yield done


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
    return deployment.sandbox.inside(
        lambda world: [(len(one["members"]), one["count"], one["serves"]) for one in etcd.of_world(world).values()]
    )


def test_one_cluster_whenever_the_process_dies(
    stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = count()

    @contextmanager
    def fresh() -> Iterator[Deployment]:
        with stood.again(tmp_path / str(next(numbers)), monkeypatch) as found:
            found.sandbox.inside(empty)
            found.sandbox.advance(120)
            yield found

    with fresh() as here:
        with counted() as steps:
            make(here)
        expected = look(here)
    assert steps == ["ApplyConfiguration", "Bootstrap", "vault", "file"]
    assert expected == [(1, 1, True)]
    for number, name in enumerate(steps, start=1):
        for moment in ("before", "after"):
            with fresh() as here:
                with pytest.raises(Killed), counted(number, moment):
                    make(here)
                make(here)
                assert look(here) == expected, f"killed {moment} {name}"
                with counted() as again:
                    make(here)
                assert again == ["file"], f"a third run changed something after a kill {moment} {name}"
