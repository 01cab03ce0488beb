"""A process dies at every writing call to the platform, before or after it: the next one goes on and ends there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.assets import platform as assets
from ocifree_pipeline.assets import platform_flux, platform_gateway, platform_network
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.systems.kube.api import Api
from ocifree_pipeline_tests.assets.test_platform import (
    AGE,
    CILIUM_KEY,
    FLUX,
    GATEWAY,
    POLICIES,
    TAILSCALE,
    Platform,
    drawn,
    keys,
    platform,
)

__all__ = ["keys"]

BODIES: dict[str, Callable[[Step], Outcome]] = {
    CILIUM_KEY: platform_network.cilium,
    AGE: platform_flux.sops_age,
    FLUX: platform_flux.flux,
    POLICIES: assets._policies,
    GATEWAY: platform_gateway.gateway,
    TAILSCALE: assets._tailscale_operator,
}


class Dead(BaseException):
    """The process is gone."""


def run(lab: Platform) -> list[str]:
    """Everything in the order of the graph; the plans together."""
    said: list[str] = []
    for key, body in BODIES.items():
        said += body(Step(lab.deployment.blueprint, key, lab.deployment.instance, lambda line: None)).plan
    return said


def dies_at(patch: pytest.MonkeyPatch, victim: int, *, afterwards: bool) -> None:
    really, count = Api._call, 0

    def call(self: Api, method: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        if method == "GET" or "dryRun" in (kwargs.get("query") or {}):
            return really(self, method, *args, **kwargs)
        count += 1
        if count == victim and not afterwards:
            raise Dead
        found = really(self, method, *args, **kwargs)
        if count == victim:
            raise Dead
        return found

    patch.setattr(Api, "_call", call)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("afterwards", [False, True])
def test_a_death_at_every_call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    keys: None,
    *,
    afterwards: bool,
) -> None:
    """Each process gets one call further than the one before it, so that every call is somebody's last."""
    with platform(tmp_path / "calm", monkeypatch, capfd, drawn()) as calm:
        run(calm)
        wanted, writes = everything_in(calm), len(calm.writes())
    deaths = 0
    with platform(tmp_path / "deaths", monkeypatch, capfd, drawn()) as lab:
        while True:
            with monkeypatch.context() as patch:
                dies_at(patch, 1 if afterwards else 2, afterwards=afterwards)
                try:
                    run(lab)
                    break
                except Dead:
                    deaths += 1
        assert deaths >= writes - 1
        assert everything_in(lab) == wanted
        lab.forget()
        assert run(lab) == []
        assert lab.writes() == []


def everything_in(lab: Platform) -> set[str]:
    """What stands in the cluster, but for names that are made up and what only counts."""

    def look(cluster: Any) -> set[str]:
        return {
            f"{kind.plural}.{kind.group} {one['metadata'].get('namespace', '')}/{one['metadata']['name']}"
            for kind in cluster.api.kinds()
            if kind.plural not in {"pods", "replicasets", "events", "endpointslices", "controllerrevisions"}
            for one in cluster.store.all(kind.resource)
        }

    found: set[str] = lab.here.inside(look)
    return found
