"""Complete declarations that are shipped with the program. They are the first thing people read and copy."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

EXAMPLES = ("proxmox-ceph", "talos-native")


def example(name: str) -> str:
    """The text of an example; KeyError names the ones there are."""
    if name not in EXAMPLES:
        raise KeyError(f"no example {name!r}; there are {', '.join(EXAMPLES)}")
    return example_path(name).read_text("utf-8")


def example_path(name: str) -> Path:
    """The file of an example, for programs that want a path."""
    return Path(str(files("ocifree_pipeline.deployment"))) / "examples" / f"{name}.yaml"
