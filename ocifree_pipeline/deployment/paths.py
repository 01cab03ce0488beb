"""Places in the data of a declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocifree_pipeline.deployment.secret_literals import masked, secret_kind

Path = tuple[str | int, ...]

WHOLE = "(file)"
_LONGEST_KEY = 60


def spelled(path: Path) -> str:
    """`access.ssh_public_keys[0]`. A key that is itself a secret is not spelled out."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = masked(part) if secret_kind(part) or len(part) > _LONGEST_KEY else " ".join(part.split())
            text += f".{key}" if text else key
    return text or WHOLE


def texts(data: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in the data, keys included, with the place where it stands."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield (*path, key), key
            yield from texts(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from texts(value, (*path, index))
    elif isinstance(data, str):
        yield path, data


def value_at(data: Any, path: Path) -> Any:
    """What is written at `path`; raises LookupError if nothing is."""
    for part in path:
        if not isinstance(data, Mapping | list):
            raise LookupError(part)
        data = data[part]  # type: ignore[index]
    return data


def without(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The data without what stands at `path`, which leads through mappings only."""
    key, rest = path[0], path[1:]
    inner = data.get(str(key))
    if rest and isinstance(inner, Mapping):
        return {**data, str(key): without(inner, rest)}
    return {name: value for name, value in data.items() if rest or name != key}


def related(one: Path, other: Path) -> bool:
    """Whether they are the same place, or one lies inside the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
