"""The only place that wires things together: a declaration becomes Dagster definitions.

Loading reads one file and talks to nobody. Which file: `OCIFREE_DEPLOYMENT` if set, else `deployment.yaml` in the
working directory, else the example `proxmox-ceph`, so that the graph can be looked at before anything is declared.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping

import dagster as dg

gc.freeze()  # No use in searching Dagster's modules for garbage while the graph is built: 1.43 -> 1.36 imports of it.

from ocifree_pipeline.assets import graph
from ocifree_pipeline.automation.drift import drift_job
from ocifree_pipeline.automation.jobs import jobs
from ocifree_pipeline.automation.schedules import schedules
from ocifree_pipeline.automation.sensors import sensors
from ocifree_pipeline.checks import checks
from ocifree_pipeline.deployment.blueprint import Blueprint, find_blueprint

STEPS_AT_ONCE = 4  # steps mostly wait for somebody else


@dg.configured(
    dg.multi_or_in_process_executor,
    {"one_process": dg.Field(bool, default_value=False, description="One step after another, in the process itself.")},
)
def executor(config: Mapping[str, bool]) -> dict[str, object]:
    """A process for each step: one that crashes or hangs takes nobody with it."""
    if config["one_process"]:
        return {"in_process": {}}
    forked = {"forkserver": {"preload_modules": ["ocifree_pipeline.warm"]}}
    return {"multiprocess": {"start_method": forked, "max_concurrent": STEPS_AT_ONCE}}


def definitions_for(blueprint: Blueprint) -> dg.Definitions:
    """Everything of one deployment."""
    assets = list(graph(blueprint))
    keys = frozenset(key.to_user_string() for asset in assets for key in _keys(asset))
    asset_checks = list(checks(blueprint, keys))
    return dg.Definitions(
        assets=assets,
        asset_checks=asset_checks,
        jobs=[*jobs(blueprint), drift_job(blueprint, asset_checks)],
        sensors=sensors(blueprint),
        schedules=schedules(blueprint),
        executor=executor,
    )


def _keys(asset: dg.AssetsDefinition | dg.AssetSpec) -> list[dg.AssetKey]:
    return [asset.key] if isinstance(asset, dg.AssetSpec) else list(asset.keys)


defs = definitions_for(find_blueprint())
gc.freeze()  # What is loaded stays; looking through it again and again was a tenth of a run.
