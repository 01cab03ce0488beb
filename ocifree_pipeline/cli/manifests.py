"""ocifree manifests: write the platform's own manifests into a checkout, for Flux to take them from there."""

from __future__ import annotations

from pathlib import Path

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.output import fail, say, say_json
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.deployment.platform import manifest_values, parts_for_flux


def write_manifests(path: Path | None, folder: Path, as_json: bool) -> None:
    """Into one folder a part; nothing else in the checkout is touched."""
    from ocifree_pipeline.systems.kube.rendering import manifest_folder, render, versions
    from ocifree_pipeline.systems.kube.synced import write_tree

    declaration = declaration_of(path, None, as_json)
    try:
        blueprint = blueprint_of(declaration)
        shipped = manifest_folder()
        values = manifest_values(blueprint, versions(shipped))
        done = [
            line
            for part in parts_for_flux(blueprint)
            for line in write_tree(folder, part, render(part, values, shipped))
        ]
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
