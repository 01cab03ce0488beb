"""From machines to a kubeconfig that answers, in the real graph: once, again, and after what may go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.native import CLUSTER, KUBECONFIG, Standing, standing
from ocifree_pipeline_tests.assets.test_machines import checks


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("native")) as found:
        yield found


@pytest.fixture
def native(stood: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with stood.again(tmp_path / "home", monkeypatch) as found:
        yield found


def test_up_to_a_kubeconfig_and_the_second_time_nothing_changes(native: Deployment) -> None:
    result = native.materialize(CLUSTER, KUBECONFIG)
    print(native.metadata(CLUSTER), native.metadata(KUBECONFIG))
    print([(c.check_name, c.passed, c.description) for c in result.get_asset_check_evaluations()])
    calls = native.mutations()
    print([(e.operation, e.mutating, e.service) for e in native.sandbox.recorder if e.mutating])
    result = native.materialize(CLUSTER, KUBECONFIG)
    assert native.mutations() == calls
    print(native.metadata(CLUSTER)["plan"], native.metadata(KUBECONFIG)["plan"])
