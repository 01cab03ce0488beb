"""Delivery by Flux: what the repository brought is compared with what this version renders, and waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.kube.synced import HEADER, wait_until_synced, write_tree
from ocifree_pipeline_tests.systems.kube.conftest import Lab
from ocifree_pipeline_tests.systems.kube.test_delivery import NAMESPACE, SETTINGS, Hurried, changed, deliver, ignore

FLUX = "kustomize-controller"


def sync(lab: Lab, folder: Path) -> None:
    """What kustomize-controller does with a checkout."""
    for file in sorted(folder.rglob("*.yaml"), key=lambda one: "namespace" not in one.name):
        lab.as_other(yaml.safe_load(file.read_text()), FLUX, force=True)


def wait(lab: Lab, *objects: dict[str, Any]) -> None:
    wait_until_synced(lab.api, "web", objects, ignore, timeout=60, clock=Hurried())


def test_what_flux_brought_is_enough_and_nothing_is_written(lab: Lab, tmp_path: Path) -> None:
    assert write_tree(tmp_path, "web", [SETTINGS, NAMESPACE]) == [
        "write web/namespace-web.yaml",
        "write web/configmap-web-settings.yaml",
    ]
    sync(lab, tmp_path)
    lab.forget()
    wait(lab, NAMESPACE, SETTINGS)
    assert lab.writes() == []
    assert write_tree(tmp_path, "web", [SETTINGS, NAMESPACE]) == []


def test_a_repository_that_is_behind_is_named(lab: Lab, tmp_path: Path) -> None:
    write_tree(tmp_path, "web", [NAMESPACE, SETTINGS])
    sync(lab, tmp_path)
    with pytest.raises(NotVerified) as raised:
        wait(lab, NAMESPACE, changed(SETTINGS, color="red"))
    assert raised.value.what == "the repository does not hold manifests/web as this version renders it"
    assert raised.value.why == "ConfigMap web/settings differs at .data.color"
    assert "ocifree manifests" in raised.value.fix


def test_nothing_synced_yet(lab: Lab) -> None:
    with pytest.raises(NotVerified) as raised:
        wait(lab, NAMESPACE)
    assert raised.value.why == "Namespace web is not there"


def test_switching_from_applying_to_syncing(lab: Lab, tmp_path: Path) -> None:
    """Flux takes over what we applied; neither of the two undoes the other."""
    deliver(lab, NAMESPACE, SETTINGS)
    write_tree(tmp_path, "web", [NAMESPACE, changed(SETTINGS, color="red")])
    sync(lab, tmp_path)
    wait(lab, NAMESPACE, changed(SETTINGS, color="red"))


def test_only_our_own_files_are_removed(tmp_path: Path) -> None:
    write_tree(tmp_path, "web", [NAMESPACE, SETTINGS])
    theirs = tmp_path / "web" / "theirs.yaml"
    theirs.write_text("kind: Mine\n")
    assert (tmp_path / "web" / "namespace-web.yaml").read_text().startswith(HEADER)
    assert write_tree(tmp_path, "web", [NAMESPACE]) == ["remove web/configmap-web-settings.yaml"]
    assert theirs.exists()
