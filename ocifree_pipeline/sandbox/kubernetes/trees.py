"""JSON trees. What is stored is never changed in place: whoever edits takes a copy first."""

from typing import Any

Tree = dict[str, Any]


def clone(value: Any) -> Any:
    """A copy of a JSON tree that shares nothing."""
    if isinstance(value, dict):
        return {name: clone(one) for name, one in value.items()}
    if isinstance(value, list):
        return [clone(one) for one in value]
    return value


def at(tree: Any, *path: str | int, default: Any = None) -> Any:
    """What stands under a path; ``default`` where the path ends early or at null."""
    for step in path:
        if isinstance(tree, dict) and isinstance(step, str):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and -len(tree) <= step < len(tree):
            tree = tree[step]
        else:
            return default
    return default if tree is None else tree


def without_nulls(value: Any) -> Any:
    """A copy without the members of objects that are null."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [without_nulls(one) for one in value]
    return value
