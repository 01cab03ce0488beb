"""The bastion votes, and root of a node is let into it for no longer than that takes."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.proxmox import nodes_of
from ocifree_pipeline.sandbox.proxmox.nodes import stores
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.proxmox.qdevice import KEYS, LET_IN, ThirdVote
from ocifree_pipeline.systems.ssh.host_keys import host_keys_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.dying import changes

pytestmark = pytest.mark.long


def device_of(world: World) -> Any:
    return next(iter(stores(world).values()))["cluster"]["qdevice"]


def forget_the_last(world: World) -> None:
    device_of(world)["ready"].pop()


def test_it_votes_and_nobody_stays_let_in(here: Deployment) -> None:
    here.materialize("proxmox/cluster")
    plan, step = here.blueprint.plan, Step(here.blueprint, "test", here.instance, print)
    assert plan.bastion is not None
    keys = [f"{key.kind} {key.blob}" for key in host_keys_of("lab").of("bastion")]
    with nodes_of(step, [plan.bastion]) as (bastion,), nodes_of(step) as nodes:
        vote = ThirdVote(bastion, nodes, keys, print)
        assert vote.ensure() == ["install corosync-qnetd on lab-bastion", "let lab-bastion be the third vote"]
        assert not bastion.has(LET_IN)
        assert not bastion.has(KEYS)
        assert nodes[0].ask("/cluster/config/qdevice")["State"] == "Connected"
        with changes() as done:
            assert vote.ensure() == []
        assert done.operations == []

        # A node that took the place of another has joined since.
        here.sandbox.inside(forget_the_last)
        assert nodes[2].ask("/cluster/config/qdevice") == {}
        assert vote.ensure() == [
            "take the third vote away: lab-ampere-3 has to know of it too", "let lab-bastion be the third vote",
        ]  # fmt: skip
        assert nodes[2].ask("/cluster/config/qdevice")["State"] == "Connected"
        # The bastion was made again, and has another address.
        here.sandbox.inside(lambda world: device_of(world).update(host="10.0.0.99"))
        assert vote.ensure() == [
            f"take the third vote away: it is at 10.0.0.99, and lab-bastion at {bastion.address}",
            "let lab-bastion be the third vote",
        ]
        assert nodes[0].ask("/cluster/config/qdevice")["State"] == "Connected"
        bastion.put(LET_IN, "Match all\n")
        assert len(vote.ensure()) == 1, "what a set-up that broke off left behind is taken away"
        assert not bastion.has(LET_IN)
