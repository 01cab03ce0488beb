"""The machines join the tailnet over SSH, are in its list, and answer at their address there."""

from __future__ import annotations

import pytest

from ocifree_pipeline.sandbox.tailscale import tailnet
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.assets.conftest import Deployment

pytestmark = pytest.mark.long

LINKS = "links/tailnet"


def test_all_join_once_and_answer(here: Deployment) -> None:
    here.materialize(LINKS)
    addresses = here.facts(LINKS)["addresses"]
    assert set(addresses) == {"bastion", "ampere_1", "ampere_2", "ampere_3"}
    assert all(address.startswith("100.") for address in addresses.values())
    calls = here.mutations()
    here.materialize(LINKS)
    assert here.mutations() == calls
    assert here.metadata(LINKS)["plan"] == "nothing to do"
    assert here.facts(LINKS)["addresses"] == addresses


def test_the_entry_of_a_machine_that_is_gone_is_taken_out(here: Deployment) -> None:
    def leave_behind(world: World) -> None:
        known = tailnet.state(world)["devices"]
        (mine,) = (one for one in known.values() if one["hostname"] == "lab-ampere-1")
        gone = {"id": "1", "nodeId": "n1CNTRL", "computer": "nobody", "addresses": ["100.64.0.1"]}
        known["1"] = {**mine, **gone}
        known["2"] = {**mine, **gone, "id": "2", "nodeId": "n2CNTRL", "addresses": ["100.64.0.2"], "tags": ["tag:k8s"]}

    here.materialize(LINKS)
    here.sandbox.inside(leave_behind)
    here.materialize(LINKS)
    assert here.metadata(LINKS)["plan"] == (
        "- take the entry of an earlier lab-ampere-1 out of the tailnet: 100.64.0.1"
    ), "one with tags of others is none of ours"


def test_a_key_that_was_made_is_used_once_and_by_one_machine(here: Deployment) -> None:
    here.materialize(LINKS)
    keys = here.sandbox.inside(lambda world: list(tailnet.state(world)["keys"].values()))
    assert [key["used"] for key in keys] == [True] * 4
    assert not any(key["create"]["reusable"] for key in keys)
