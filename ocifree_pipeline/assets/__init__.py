"""The graph, one module a group. Each yields its assets from the blueprint; no module talks to the network itself."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from ocifree_pipeline.assets import (
    assurance,
    foundation,
    images,
    kubernetes,
    machines,
    monitoring,
    platform,
    proxmox,
    tenancy,
)
from ocifree_pipeline.deployment.blueprint import Blueprint


def graph(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset of the deployment, in the order of its making."""
    for group in (tenancy, foundation, images, machines, proxmox, kubernetes, platform, monitoring, assurance):
        yield from group.assets(blueprint)
