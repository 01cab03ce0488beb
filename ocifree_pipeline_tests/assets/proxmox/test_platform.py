"""From three Proxmox nodes to a page in a browser: guests, their cluster, the platform, and a request from outside."""

from __future__ import annotations

import pytest

from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.test_guests import CONFIGS, FORMED, VMS
from ocifree_pipeline_tests.assets.test_machines import checks

CLUSTER = ["talos/cluster", "talos/kubeconfig"]
PLATFORM = ["platform/cilium", "platform/sops_age", "platform/flux", "platform/policies", "platform/gateway"]

pytestmark = pytest.mark.long


@pytest.mark.timeout(400)
def test_a_stranger_reads_the_words_of_the_sample(here: Deployment) -> None:
    """Oracle translates to the first node, the node to its guest, and Envoy there finds the pod on any of the three."""
    here.materialize(*FORMED)
    here.materialize("proxmox/ceph_pool", "talos/secrets", "images/talos_nocloud", *CONFIGS, *VMS)
    here.materialize(*CLUSTER)
    judged = checks(here.materialize(*PLATFORM))
    assert judged.keys() >= {"cilium:cilium_ok", "flux:releases_ready", "gateway:ingress_reachable", "gateway:drift"}
    assert all(judged.values()), judged
    assert here.facts("platform/cilium")["nodes"] == ["lab-talos-1", "lab-talos-2", "lab-talos-3"]
    reserved = here.facts("oci/reserved_ips")["addresses"]["ingress"]["address"]
    assert here.facts("platform/gateway")["address"] == reserved

    calls = here.mutations()
    here.materialize(*CLUSTER, *PLATFORM)
    assert here.mutations() == calls
    assert {here.metadata(key)["plan"] for key in (*CLUSTER, *PLATFORM)} == {"nothing to do"}
