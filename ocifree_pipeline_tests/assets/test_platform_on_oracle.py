"""From machines at Oracle to a page in a browser: Talos, Kubernetes, the platform, and a request from the internet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.assets.test_machines import checks

PLATFORM = ["platform/cilium", "platform/sops_age", "platform/flux", "platform/policies", "platform/gateway"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("native")) as found:
        yield found


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with stood.again(tmp_path / "home", monkeypatch) as found:
        yield found


def test_a_stranger_reads_the_words_of_the_sample(native: Deployment) -> None:
    """Over the reserved address, which no machine had before, through Envoy and the policies, to a pod and back."""
    native.materialize(CLUSTER, KUBECONFIG)
    first = native.materialize(*PLATFORM)
    assert {name for name, passed in checks(first).items() if passed} == {
        *(f"{key.rpartition('/')[2]}:drift" for key in PLATFORM if key != "platform/sops_age"),
        "cilium:cilium_ok",
        "cilium:in_time",
        "flux:releases_ready",
        "gateway:in_time",
        "gateway:ingress_reachable",
    }
    reserved = native.facts("oci/reserved_ips")["addresses"]["ingress"]["address"]
    assert native.facts("platform/gateway")["address"] == reserved
    assert f"point {reserved} at lab-ampere-1" in native.metadata("platform/gateway")["plan"]

    calls = native.mutations()
    again = native.materialize(CLUSTER, KUBECONFIG, *PLATFORM)
    assert native.mutations() == calls
    assert {native.metadata(key)["plan"] for key in (CLUSTER, KUBECONFIG, *PLATFORM)} == {"nothing to do"}
    assert all(checks(again).values()), checks(again)


def test_the_entrance_that_somebody_moved_is_found(native: Deployment) -> None:
    """The check asks from outside, so it knows when the address leads elsewhere; the asset leads it back."""
    import oci

    native.materialize(CLUSTER, KUBECONFIG, *PLATFORM)
    network = native.client(oci.core.VirtualNetworkClient)
    reserved = native.facts("oci/reserved_ips")["addresses"]["ingress"]["id"]
    network.update_public_ip(reserved, oci.core.models.UpdatePublicIpDetails(private_ip_id=""))
    assert all(checks(native.materialize("platform/flux", "platform/cilium")).values())
    result = native.materialize("platform/gateway")
    assert "point" in native.metadata("platform/gateway")["plan"]
    assert checks(result) == {"gateway:ingress_reachable": True, "gateway:in_time": True, "gateway:drift": True}
