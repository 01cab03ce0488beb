"""ocifree manifests: write the platform's own manifests into a checkout, for Flux to take them from there.

And, when asked to, those of ocifree itself, so that it runs on the cluster that it has built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.output import fail, say, say_json
from ocifree_pipeline.deployment.blueprint import DEFAULT_FILE, SHOWN_WITHOUT_A_FILE, blueprint_of
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.platform import manifest_values, parts_for_flux


@dataclass(frozen=True, slots=True)
class Dagster:
    """What ocifree itself needs on a cluster."""

    image: str
    database: str


def write_manifests(path: Path | None, folder: Path, as_json: bool, dagster: Dagster | None) -> None:
    """Into one folder a part; nothing else in the checkout is touched."""
    from ocifree_pipeline.systems.kube.rendering import manifest_folder, render, versions
    from ocifree_pipeline.systems.kube.synced import write_tree

    declaration = declaration_of(path, None, as_json)
    try:
        blueprint = blueprint_of(declaration)
        shipped = manifest_folder()
        values: Mapping[str, Any] = manifest_values(blueprint, versions(shipped))
        parts = parts_for_flux(blueprint)
        if dagster is not None:
            itself = {**asdict(dagster), "declaration": _text(path)}
            values, parts = {**values, "dagster": itself}, (*parts, "dagster")
        done = [line for part in parts for line in write_tree(folder, part, render(part, values, shipped))]
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json(done)
        return
    for line in done:
        say(line)
    if not done:
        say(f"{folder} holds them already")
    elif not declaration.kubernetes.flux.delivers:
        say("Flux delivers them once kubernetes.flux.delivers is true; until then they are applied directly.")


def _text(path: Path | None) -> str:
    """The declaration as it is written; it was read before."""
    file = path or Path(os.environ.get("OCIFREE_DEPLOYMENT") or DEFAULT_FILE)
    return file.read_text("utf-8") if file.exists() else example(SHOWN_WITHOUT_A_FILE)
