"""The machines join the tailnet over SSH, are in its list, and answer at their address there."""

from __future__ import annotations

from ocifree_pipeline_tests.assets.conftest import Deployment

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
