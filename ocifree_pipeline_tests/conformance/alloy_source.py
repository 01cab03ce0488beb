"""What Alloy's components take, read from the source of a version: its structs name every attribute and block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

MODULE = "github.com/grafana/alloy/"
# Blocks that are no components are registered elsewhere.
ELSEWHERE = {
    "logging": ("internal/runtime/logging", "Options"),
    "tracing": ("internal/runtime/tracing", "Options"),
    "livedebugging": ("internal/service/livedebugging", "Arguments"),
}
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_ALIAS = re.compile(r"^(?:type |\t)(\w+) +=? ?((?:\[\])?(?:\w+\.)?[A-Z]\w+)$", re.MULTILINE)
_FIELD = re.compile(r'^\s*\w+\s+(\S+)\s+`[^`]*alloy:"([^"]*)"', re.MULTILINE)
_IMPORT = re.compile(r'^\s*(?:import\s+)?(\w+)?\s*"' + re.escape(MODULE) + r'([^"]+)"', re.MULTILINE)
_REGISTERED = re.compile(
    r'Name:\s+("[a-z0-9_.]+"|\w+),\s+Stability:\s+featuregate\.Stability(\w+),.*?Args:\s+(\w+)\{', re.DOTALL
)


@dataclass
class Taken:
    """`attributes` say whether they are required."""

    attributes: dict[str, bool] = field(default_factory=dict)
    blocks: dict[str, Taken] = field(default_factory=dict)


@dataclass(frozen=True)
class Component:
    stability: str
    taken: Taken


class Source:
    """The folder of Alloy's module."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.structs = cache(self._structs)

    def components(self) -> Mapping[str, Component]:
        """Every registered component by its name."""
        found = {name: Component("GenerallyAvailable", self.taken(*where)) for name, where in ELSEWHERE.items()}
        for file in sorted((self.root / "internal/component").rglob("*.go")):
            if file.name.endswith("_test.go"):
                continue
            text = file.read_text("utf-8")
            for called, stability, arguments in _REGISTERED.findall(text):
                constant = re.search(rf'^const {called} = "(.+)"', text, re.MULTILINE)
                name = constant[1] if constant else called.strip('"')
                found[name] = Component(stability, self.taken(str(file.parent.relative_to(self.root)), arguments))
        return found

    def taken(self, folder: str, name: str, above: tuple[tuple[str, str], ...] = ()) -> Taken:
        """What a struct takes, with the structs inside of it; one that holds itself ends there."""
        result = Taken()
        known = self.structs(folder)
        if name not in known or (folder, name) in above:
            return result
        body, imports = known[name]
        if "{" not in body:
            return self._resolved(body, folder, imports, above)
        for kind, tag in _FIELD.findall(body):
            called, _, rest = tag.partition(",")
            if rest.startswith("attr"):
                result.attributes[called] = "optional" not in rest
                continue
            inner = self._resolved(kind, folder, imports, (*above, (folder, name)))
            if rest.startswith("block"):
                result.blocks[called] = inner
            elif rest.startswith("enum"):
                result.blocks |= {f"{called}.{one}": shape for one, shape in inner.blocks.items()}
            elif rest.startswith("squash"):
                result.attributes |= inner.attributes
                result.blocks |= inner.blocks
        return result

    def _resolved(
        self, kind: str, folder: str, imports: Mapping[str, str], above: tuple[tuple[str, str], ...]
    ) -> Taken:
        package, _, name = kind.lstrip("[]*{").strip().rpartition(".")
        if not package:
            return self.taken(folder, name, above)
        return self.taken(imports[package], name, above) if package in imports else Taken()

    def _structs(self, folder: str) -> dict[str, tuple[str, dict[str, str]]]:
        """Each type of a package: its body in braces, or the other type that it is."""
        found: dict[str, tuple[str, dict[str, str]]] = {}
        for file in (self.root / folder).glob("*.go"):
            text = file.read_text("utf-8")
            imports = {alias or path.rpartition("/")[2]: path for alias, path in _IMPORT.findall(text)}
            found |= {name: ("{\n" + body, imports) for name, body in _STRUCT.findall(text)}
            found |= {name: (other, imports) for name, other in _ALIAS.findall(text)}
        return found
