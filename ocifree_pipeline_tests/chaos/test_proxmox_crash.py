"""Proxmox, killed at every kind of change, before it and after it: one cluster, one token, no guest twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.assets import monitoring, proxmox, tailscale_lxc, talos_vm
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.monitoring import AlloyFacts
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.proxmox import access
from ocifree_pipeline.systems.proxmox.membership import view_of
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.world import Standing, root_of, standing
from ocifree_pipeline_tests.chaos.crash import crash_everywhere
from ocifree_pipeline_tests.chaos.doors import nodes

pytestmark = pytest.mark.timeout(7200)

_numbers = count()

Bodies = dict[str, Callable[[Step], Outcome]]
CLUSTER: Bodies = {"proxmox/cluster": proxmox._cluster, "proxmox/network": proxmox._network}
GUEST: Bodies = {"talos/vm_1": lambda step: talos_vm.materialize(step, 1)}
CONTAINER: Bodies = {"proxmox/tailscale_lxc_1": lambda step: tailscale_lxc.materialize(step, 1)}
BEFORE_GUESTS = [
    "proxmox/cluster", "proxmox/network", "links/tailnet", "proxmox/ceph", "proxmox/ceph_pool",
    "talos/secrets", "images/talos_nocloud", "talos/machine_config_1",
]  # fmt: skip


def _below(step: Step) -> Outcome:
    """Of what watches: the part that changes Proxmox and Ceph."""
    lines, _ = monitoring._below(step)
    facts = AlloyFacts(release="", config="", nodes=0, manifests="")
    return Outcome(summary="watched", facts=facts, plan=tuple(lines))


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("standing")) as found:
        yield found


@pytest.fixture(scope="module")
def formed(machines: Standing, tmp_path_factory: pytest.TempPathFactory) -> Standing:
    return machines.with_more(tmp_path_factory.mktemp("formed"), *BEFORE_GUESTS)


def act(here: Deployment, bodies: Bodies) -> None:
    """What a run does, without Dagster's own time around it."""
    for key, body in bodies.items():
        outcome = body(Step(here.blueprint, key, here.instance, lambda line: None))
        here.pretend(key, **outcome.facts.model_dump(mode="json"))


def look(here: Deployment) -> Any:
    assert journal_of("lab").open_intents() == []
    with root_of(here, "ampere_1") as one, root_of(here, "ampere_2") as two, root_of(here, "ampere_3") as three:
        views = [view_of(node) for node in (one, two, three)]
        assert one.run(["passwd", "-S", "root"]).stdout.split()[1] == "L"
        kept = [name for name in vault_of("lab").names() if name.startswith("proxmox/")]
        guests = sorted(
            (row["name"], row["node"], row["status"]) for row in one.ask("/cluster/resources", "--type", "vm")
        )
        files = [
            node.run(["sha256sum", "/etc/hosts", "/etc/network/interfaces.d/ocifree-bridge"]).stdout
            for node in (one, two, three)
        ]
        return {
            "members": [sorted(view.members.items()) for view in views],
            "agree": len({view.digest for view in views}),
            "access": access.standing(one),
            "kept": kept,
            "guests": guests,
            "files": files,
        }


def of_every_kind(done: list[str]) -> list[int]:
    """One of each kind of change, as places in the list: 1 is the first. What is done to three nodes is one kind."""
    kinds: dict[str, int] = {}
    for number, words in enumerate(done, start=1):
        kinds.setdefault(" ".join(word for word in words.split()[1:4] if not word[0].isdigit()), number)
    return sorted(kinds.values())


@contextmanager
def begun(start: Standing, folder: Path) -> Iterator[Deployment]:
    with pytest.MonkeyPatch.context() as patch, start.again(folder / str(next(_numbers)), patch) as here:
        yield here


def die_everywhere(start: Standing, folder: Path, bodies: Bodies, *, at_least: int) -> None:
    def fresh() -> AbstractContextManager[Deployment]:
        return begun(start, folder)

    crash_everywhere(fresh, lambda here: act(here, bodies), look, at_least=at_least, doors=(nodes,), only=of_every_kind)


@pytest.mark.exhaustive
def test_one_cluster_whenever_the_process_dies(machines: Standing, tmp_path: Path) -> None:
    die_everywhere(machines, tmp_path, CLUSTER, at_least=30)


@pytest.mark.exhaustive
def test_one_guest_whenever_the_process_dies(formed: Standing, tmp_path: Path) -> None:
    die_everywhere(formed, tmp_path, GUEST, at_least=6)


def test_one_container_whenever_the_process_dies(formed: Standing, tmp_path: Path) -> None:
    die_everywhere(formed, tmp_path, CONTAINER, at_least=10)


def test_one_token_for_looking_whenever_the_process_dies(formed: Standing, tmp_path: Path) -> None:
    die_everywhere(formed, tmp_path, {"monitoring/alloy": _below}, at_least=2)
