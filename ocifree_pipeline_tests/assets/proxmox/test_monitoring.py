"""From three Proxmox nodes to what is seen of them at Grafana Cloud: hosts, Ceph, guests, pods, logs, a trace."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.sandbox import outbox
from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.systems.grafana.stores import stores_of
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.test_guests import CONFIGS, FORMED, VMS
from ocifree_pipeline_tests.assets.proxmox.test_platform import CLUSTER, PLATFORM

MONITORING = ["monitoring/alloy", "monitoring/dashboards", "monitoring/alert_rules"]

pytestmark = pytest.mark.long


@pytest.fixture
def watched(here: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The stack that the example declares is the one that the sandbox plays."""
    offered = here.sandbox.inside(stack.offered)
    monkeypatch.setenv("GRAFANA_CLOUD_TOKEN", offered["token"])
    monkeypatch.setenv("GRAFANA_SERVICE_ACCOUNT_TOKEN", offered["service_account_token"])
    monkeypatch.setattr("ocifree_pipeline.checks.monitoring.now", lambda: now(here))
    return here


def now(here: Deployment) -> float:
    return here.sandbox.inside(lambda world: world.clock.now().timestamp())


def ask(here: Deployment, query: str) -> dict[str, float]:
    """The values by their labels, written together."""
    from pydantic import SecretStr

    cloud = here.blueprint.declaration.monitoring.grafana_cloud
    assert cloud is not None
    token = SecretStr(here.sandbox.inside(stack.offered)["token"])
    rows = stores_of(cloud, token).query(query)
    return {",".join(f"{k}={v}" for k, v in sorted(row.labels.items())): row.value for row in rows}


@pytest.mark.timeout(600)
def test_everything_that_is_below_the_cluster_is_watched_too(watched: Deployment) -> None:
    watched.materialize(*FORMED)
    watched.materialize("proxmox/ceph_pool", "talos/secrets", "images/talos_nocloud", *CONFIGS, *VMS)
    watched.materialize(*CLUSTER)
    watched.materialize(*PLATFORM)
    found = {
        one.check_name: (one.passed, one.description)
        for one in watched.materialize(*MONITORING).get_asset_check_evaluations()
    }
    assert all(passed for passed, _ in found.values()), found
    watched.sandbox.advance(120)
    silent = ask(watched, "count by (job) (up == 0)")
    assert silent == {}, silent
    jobs = ask(watched, "count by (job) (up)")
    assert {"job=proxmox", "job=ceph", "job=etcd", "job=node", "job=cilium"} <= jobs.keys()
    assert ask(watched, 'count(pve_up{id=~"node/.+"} == 1)') == {"": 3.0}
    assert ask(watched, 'count(pve_up{id=~"qemu/.+"} == 1)') == {"": 3.0}
    assert ask(watched, "max(ceph_health_status)") == {"": 0.0}
    talos: Any = watched.sandbox.inside(lambda world: stack.facts(world)["streams"])
    assert any('"talos"' in key for key in talos), "Talos sends its logs to the agent of its node"
    assert "make the token ocifree@pve!monitoring" in watched.metadata("monitoring/alloy")["plan"]
    names = vault_of(watched.blueprint.declaration.name).names()
    assert "proxmox/monitoring_token" in names

    calls = watched.mutations()
    watched.materialize(*MONITORING)
    assert watched.mutations() == calls
    assert {watched.metadata(key)["plan"] for key in MONITORING} == {"nothing to do"}
    assert watched.sandbox.inside(outbox.messages) == []
