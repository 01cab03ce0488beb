"""Helm releases as Flux reports them: which version is really installed, and what is wrong with those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.errors import NotVerified

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.api import Api
    from ocifree_pipeline.systems.kube.objects import Object

RELEASES = ("helm.toolkit.fluxcd.io/v2", "HelmRelease")


def installed_version(api: Api, namespace: str, name: str, declared: Sequence[Object]) -> str:
    """The version of the chart that Flux installed last; NotVerified when it is another than the declared one."""
    from ocifree_pipeline.systems.kube.objects import at, ref_of

    wanted = next(thing for thing in declared if thing["kind"] == "HelmRelease" and thing["metadata"]["name"] == name)
    live = api.get(api.require(*RELEASES), ref_of(wanted))
    history = at(live, "status.history") if live is not None else None
    installed = str(history[0].get("chartVersion", "")) if history else ""
    asked = str(at(wanted, "spec.chart.spec.version"))
    # A chart may carry build metadata behind a plus sign, which is no part of its version.
    if installed.partition("+")[0] != asked:
        raise NotVerified(
            f"release {namespace}/{name} is Ready and not the one that was asked for",
            why=f"installed is version {installed or 'unknown'}, declared {asked}",
            fix=f"kubectl --namespace {namespace} describe helmrelease {name}",
        )
    return asked
