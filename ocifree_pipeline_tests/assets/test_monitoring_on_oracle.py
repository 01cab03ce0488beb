"""From a machine at Oracle to what is seen of it at Grafana Cloud, with monitoring declared when the cluster stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, CONFIG, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.assets.proxmox.test_monitoring import MONITORING, ask, now
from ocifree_pipeline_tests.assets.test_platform_on_oracle import PLATFORM

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("native")) as found:
        yield found


@pytest.mark.timeout(400)
def test_a_deployment_that_declares_it_later_is_watched(
    stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stood.again(tmp_path / "home", monkeypatch) as native:
        native.materialize(CLUSTER, KUBECONFIG)
        native.materialize(*PLATFORM)
        offered = native.sandbox.inside(stack.offered)
        monkeypatch.setenv("GRAFANA_CLOUD_TOKEN", offered["token"])
        monkeypatch.setenv("GRAFANA_SERVICE_ACCOUNT_TOKEN", offered["service_account_token"])
        monkeypatch.setattr("ocifree_pipeline.checks.monitoring.now", lambda: now(native))
        data = yaml.safe_load(yaml.safe_dump(native.blueprint.declaration.model_dump(mode="json", exclude_unset=True)))
        data["monitoring"] = yaml.safe_load(example("proxmox-ceph"))["monitoring"]
        watched = Deployment(native.sandbox, blueprint_of(parse(yaml.safe_dump(data))), native.instance)
        watched.materialize(CONFIG)
        watched.materialize(CLUSTER)
        found = {
            one.check_name: (one.passed, one.description)
            for one in watched.materialize(*MONITORING).get_asset_check_evaluations()
        }
        assert all(passed for passed, _ in found.values()), found
        watched.sandbox.advance(120)
        assert ask(watched, "count by (job) (up == 0)") == {}
        assert ask(watched, 'count(up{job="node"})') == {"": 1.0}
        calls = watched.mutations()
        watched.materialize(*MONITORING)
        assert watched.mutations() == calls
