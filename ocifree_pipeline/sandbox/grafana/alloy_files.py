"""Which pods are Alloy, and which file each of them is told to run."""

from __future__ import annotations

from collections.abc import Callable

from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

ALLOY = ("app.kubernetes.io/name", "alloy")
FOLDER = "/etc/alloy/"


def file_of(pod: Tree, config_map: Callable[[str], Tree | None]) -> str | None:
    """The text that the container runs, from the ConfigMap that is mounted there."""
    container = pod["spec"]["containers"][0]
    file = next((one for one in container.get("args") or () if one.startswith(FOLDER)), f"{FOLDER}config.alloy")
    for volume in pod["spec"].get("volumes") or ():
        name = at(volume, "configMap", "name")
        found = config_map(name) if name else None
        text = at(found, "data", default={}).get(file.removeprefix(FOLDER)) if found else None
        if text is not None:
            return str(text)
    return None
