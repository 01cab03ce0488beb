"""ocifree graph: the lineage as a tree. An asset stands under the deepest of its upstreams; the others are named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.output import on_terminal, say, say_json


@dataclass(frozen=True, slots=True)
class Node:
    key: str
    group: str
    kinds: tuple[str, ...]
    description: str
    deps: tuple[str, ...]
    checks: tuple[str, ...]
    observed_only: bool = False


def show_graph(path: Path | None, example: str | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, example, as_json)
    export_declaration(path, example)
    nodes = lineage()
    if as_json:
        say_json(
            [
                {
                    "key": node.key,
                    "group": node.group,
                    "kinds": node.kinds,
                    "deps": node.deps,
                    "checks": node.checks,
                    "description": node.description,
                }
                for node in nodes.values()
            ]
        )
        return
    say(f"{blueprint.declaration.name}: {len(nodes)} assets, topology {blueprint.plan.topology}", style="bold")
    for line in tree(nodes):
        say(line)


def lineage() -> Mapping[str, Node]:
    """Every asset of the current declaration in topological order, as Dagster sees it."""
    from ocifree_pipeline.definitions import defs

    graph = defs.resolve_asset_graph()
    checks: dict[str, list[str]] = {}
    for check in sorted(graph.asset_check_keys, key=lambda c: c.name):
        checks.setdefault(check.asset_key.to_user_string(), []).append(check.name)
    nodes = {}
    for asset_key in graph.toposorted_asset_keys:
        found, key = graph.get(asset_key), asset_key.to_user_string()
        nodes[key] = Node(
            key=key,
            group=found.group_name,
            kinds=tuple(sorted(found.kinds or ())),
            description=found.description or "",
            deps=tuple(sorted(parent.to_user_string() for parent in found.parent_keys)),
            checks=tuple(checks.get(key, ())),
            observed_only=not found.is_materializable,
        )
    return nodes


def tree(nodes: Mapping[str, Node]) -> Iterator[str]:
    depth: dict[str, int] = {}
    for key, node in nodes.items():
        depth[key] = 1 + max((depth[dep] for dep in node.deps), default=-1)
    home = {key: max(node.deps, key=lambda dep: (depth[dep], dep)) for key, node in nodes.items() if node.deps}
    children: dict[str | None, list[str]] = {}
    for key in nodes:
        children.setdefault(home.get(key), []).append(key)

    def lines(key: str, indent: str, last: bool, root: bool) -> Iterator[str]:
        node = nodes[key]
        branch = "" if root else ("`-- " if last else "|-- ")
        if on_terminal():
            branch = branch.replace("`-- ", "└── ").replace("|-- ", "├── ")
        also = [dep for dep in node.deps if dep != home.get(key)]
        notes = [f"after {', '.join(also)}"] if also else []
        notes += [f"{len(node.checks)} check{'s' if len(node.checks) > 1 else ''}"] if node.checks else []
        yield f"{indent}{branch}{key}" + (f"  ({'; '.join(notes)})" if notes else "")
        below = children.get(key, [])
        deeper = indent if root else indent + ("    " if last else "│   " if on_terminal() else "|   ")
        for index, child in enumerate(below):
            yield from lines(child, deeper, index == len(below) - 1, False)

    for key in children.get(None, []):
        yield from lines(key, "", True, True)
