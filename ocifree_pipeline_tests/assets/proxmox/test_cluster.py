"""Three machines become one cluster with one network for guests, in the real graph against the sandbox."""

from __future__ import annotations

from ocifree_pipeline_tests.assets.conftest import Deployment

CLUSTER, NETWORK = "proxmox/cluster", "proxmox/network"


def test_one_cluster_of_all_nodes_and_the_second_time_nothing_changes(here: Deployment) -> None:
    here.materialize(CLUSTER)
    facts = here.facts(CLUSTER)
    assert [node["name"] for node in facts["nodes"]] == ["lab-ampere-1", "lab-ampere-2", "lab-ampere-3"]
    here.materialize(CLUSTER)
    assert here.metadata(CLUSTER)["plan"] == "nothing to do"
    assert here.facts(CLUSTER) == facts
