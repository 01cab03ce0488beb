"""Series are counted through the rules that are shipped: the whole set is far below what is free."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import LimitReached
from ocifree_pipeline.deployment.telemetry import landscape, planned
from ocifree_pipeline.deployment.telemetry.budget import (
    GIGABYTE,
    LINE_BYTES,
    MONTH_SECONDS,
    Page,
    counted,
    log_lines_per_second,
    month_forecast_gb,
    require_within,
)
from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.deployment.telemetry.relabel import relabelled
from ocifree_pipeline_tests.deployment.telemetry.watched import TOPOLOGIES, jobs


def count(topology: str, nodes: int, pods: int):
    proxmox = 3 if topology == "proxmox-ceph" else 0
    size = landscape.imagined(nodes, pods, proxmox=proxmox, tailscale=True)
    return counted(jobs(topology), planned.pages(jobs(topology), size))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_six_nodes_with_a_hundred_pods_stay_below_eight_thousand_series(topology: str) -> None:
    found = count(topology, 6, 100)
    assert 1000 < found.total < 8000, found.offenders()
    assert found.over_sample_limit == ()
    require_within(found, 8000)
    assert sum(found.read.values()) > 5 * found.total, "most of what is exposed is dropped"
    assert all(found.by_job.get(job.name) for job in jobs(topology)), "a job that keeps nothing is a mistake"


def test_nothing_that_multiplies_is_kept() -> None:
    """No histogram, and no label that is a new value at every restart."""
    size = landscape.imagined(3, 50, proxmox=3)
    for page in planned.pages(jobs("proxmox-ceph"), size):
        job = next(one for one in jobs("proxmox-ceph") if one.name == page.job)
        target = job.target(page.discovered)
        assert target is not None
        for sample in page.samples:
            kept = job.series(target, sample.labels)
            if kept is None or any(relabelled(kept, sink.rules) is None for sink in job.sinks):
                continue
            assert not kept["__name__"].endswith("_bucket")
            assert not kept.keys() & {"uid", "container_id", "image", "pod_ip", "url", "revision"}, kept


def test_a_metric_that_is_let_in_by_mistake_is_refused_with_its_name() -> None:
    """The same set without the allow-list of one job."""
    loose = tuple(
        replace(job, rules=tuple(rule for rule in job.rules if rule.action != "keep"))
        if job.name == "cadvisor"
        else job
        for job in jobs("talos-native")
    )
    size = landscape.imagined(6, 250)
    found = counted(loose, planned.pages(loose, size))
    with pytest.raises(LimitReached) as caught:
        require_within(found, 8000)
    assert f"{found.total} active series are more than the 8000" in caught.value.what
    assert "container_" in caught.value.why


def test_a_target_over_its_sample_limit_sends_only_that_it_is_up() -> None:
    (job,) = (replace(one, sample_limit=2) for one in jobs("talos-native") if one.name == "kube-state")
    meta = {
        "__address__": "10.0.0.1:8080",
        "__meta_kubernetes_namespace": "monitoring",
        "__meta_kubernetes_pod_label_app_kubernetes_io_name": "kube-state-metrics",
        "__meta_kubernetes_pod_container_port_number": "8080",
    }
    page = Page("kube-state", meta, tuple(Sample({"__name__": "kube_pod_info", "pod": str(n)}, 1) for n in range(3)))
    found = counted([job], [page])
    assert dict(found.by_metric) == {("kube-state", "up"): 1}
    with pytest.raises(LimitReached, match="more samples than its job may read"):
        require_within(found, 8000)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 6), st.integers(10, 60), st.integers(1, 40))
def test_more_pods_are_never_fewer_series(nodes: int, pods: int, more: int) -> None:
    assert count("talos-native", nodes, pods).total <= count("talos-native", nodes, pods + more).total


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(1, 6))
def test_what_the_nodes_may_send_stays_within_the_month(budget: int, nodes: int) -> None:
    rate = log_lines_per_second(budget, nodes)
    assert rate >= 1
    month = rate * nodes * LINE_BYTES * MONTH_SECONDS / GIGABYTE
    assert month <= budget or rate == 1
    assert month_forecast_gb(rate * nodes * LINE_BYTES) == pytest.approx(month)
