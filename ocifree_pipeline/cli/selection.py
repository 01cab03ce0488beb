"""What a person types after --select, as Dagster's own syntax."""

from __future__ import annotations

import re

_QUOTED = re.compile(r'("[^"]*")')
_BARE_KEY = re.compile(r"(?<![\w:/])(\w+(?:/[\w*]+)+)")


def dagster_selection(text: str) -> str:
    """Keys may stand bare: `talos/cluster+` is that asset and all that hangs on it.

    Dagster's parser wants `key:"talos/cluster"+`. A bare key it reads by an older syntax, in which `+` is one step only
    and which knows no `or`.
    """
    parts = _QUOTED.split(text)
    return "".join(part if part.startswith('"') else _BARE_KEY.sub(r'key:"\1"', part) for part in parts)


def selected(selection: str) -> frozenset[str] | None:
    """The assets of a selection; None for all. ValueError says why it cannot be made.

    Dagster takes one that matches nothing for one that matches everything.
    """
    if selection == "*":
        return None
    import dagster as dg

    from ocifree_pipeline.definitions import defs

    try:
        found = dg.AssetSelection.from_string(selection).resolve(defs.resolve_asset_graph())
    except dg.DagsterError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if not found:
        raise ValueError(f"no asset is selected by {selection}")
    return frozenset(key.to_user_string() for key in found)


def every_key() -> frozenset[str]:
    from ocifree_pipeline.definitions import defs

    return frozenset(key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys)
