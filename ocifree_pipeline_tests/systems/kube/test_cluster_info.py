"""The official client with our kubeconfig: let in or refused in our words, and nothing of it stays on the disk."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Forbidden, NotVerified, OcifreeError
from ocifree_pipeline.systems.kube.cluster_info import cluster_info
from ocifree_pipeline.systems.talos.certificates import new_authority
from ocifree_pipeline_tests.systems.kube.conftest import Lab, kubeconfig


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_file_is_enough(lab: Lab, tmp_path: Path) -> None:
    assert cluster_info(kubeconfig(), ("127.0.0.1", lab.here.port)).version == "1.36.3"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (kubeconfig(groups="nobodies"), Forbidden),
        (kubeconfig(server="https://elsewhere:6443"), NotVerified),
        (kubeconfig(ca=new_authority("ecdsa", datetime.now(UTC), organization="x").certificate), NotVerified),
    ],
)
def test_what_stops_it(lab: Lab, tmp_path: Path, config: SecretStr, kind: type[OcifreeError]) -> None:
    with pytest.raises(kind) as raised:
        cluster_info(config, ("127.0.0.1", lab.here.port))
    assert "ask with the official client" in raised.value.what
    assert list(tmp_path.iterdir()) == []
