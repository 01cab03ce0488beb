"""Read YAML into plain data, and remember on which line everything stands.

The messages here never quote the file, because a broken line may hold a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ocifree_pipeline.deployment.paths import WHOLE, Path, spelled
from ocifree_pipeline.deployment.problems import InvalidDeclaration, Problem

MAX_CHARACTERS = 256 * 1024
_MAX_NODES = 20_000
_MAX_DEPTH = 30

_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_TIME = "tag:yaml.org,2002:timestamp"
_PLAIN_TAGS = {
    MappingNode: frozenset({"tag:yaml.org,2002:map"}),
    SequenceNode: frozenset({"tag:yaml.org,2002:seq"}),
    ScalarNode: _NUMBERS | {_TIME, "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"},
}


@dataclass(frozen=True, slots=True)
class _Syntax:
    """What the parser says, and what it means to whoever wrote the line."""

    says: str
    why: str
    fix: str
    at_its_beginning: bool = False  # noticed later, but mended where it begins


_SYNTAX = (
    _Syntax("'\\t'", "a tab stands where YAML wants spaces", "indent with spaces"),
    _Syntax(
        "mapping values are not allowed",
        "a colon where none can be: a wrong indentation, or text with a colon in it",
        "align the keys of one section; put text that holds a colon in quotes",
    ),
    _Syntax(
        "could not find expected ':'",
        "a key without a colon",
        "write `key: value`, with a blank after the colon",
        at_its_beginning=True,
    ),
    _Syntax("expected <block end>", "the indentation does not match the lines above", "align the keys of one section"),
    _Syntax("found another document", "a second document begins (---)", "keep one document in a file"),
    _Syntax("undefined alias", "an alias (*) to an anchor that is not there", "put text that begins with * in quotes"),
    _Syntax("end of stream", "a quote or bracket is opened and never closed", "close it", at_its_beginning=True),
    _Syntax(
        "expected ',' or",
        "a bracket is opened and never closed, or a comma is missing",
        "close it, or add the comma",
        at_its_beginning=True,
    ),
    _Syntax("cannot start any token", "text may not begin with this character", "put the text in quotes"),
    _Syntax(
        "special characters are not allowed",
        "a character that cannot be printed",
        "remove it; it is often pasted along",
    ),
)


@dataclass(slots=True)
class Document:
    """The data of a file. `problems` are those that still let the rest be read."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing above it that is written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read(text: str, source: str) -> Document:
    """The document; raises InvalidDeclaration when there is none to read."""
    if len(text) > MAX_CHARACTERS:
        raise _unreadable(
            source,
            f"{len(text) // 1024} KiB is too big for a declaration",
            f"keep it below {MAX_CHARACTERS // 1024} KiB; was this the right file?",
        )
    problem: Problem | None = None
    root: Node | None = None
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        problem = _syntax_problem(error)
    except RecursionError:
        problem = Problem(WHOLE, None, "", "nested too deeply", "remove some of the brackets")
    # Raised out here, so that the parser's own error, which quotes the file, is not chained to it.
    if problem is not None:
        raise InvalidDeclaration([problem], source)
    if root is None or loader is None or _is_null(root):
        raise _unreadable(source, "the file is empty", "run `ocifree init` to write one")
    if not isinstance(root, MappingNode):
        raise _unreadable(
            source, "the file is not a mapping of sections", "begin with `name: lab` and `site:`, or run `ocifree init`"
        )
    reader = _Reader(loader, Document())
    data = reader.value(root, (), 0)
    if reader.overflow or data is None:
        raise InvalidDeclaration([reader.overflow] if reader.overflow else reader.document.problems, source)
    reader.document.data = data
    return reader.document


def _unreadable(source: str, why: str, fix: str) -> InvalidDeclaration:
    return InvalidDeclaration([Problem(WHOLE, None, "", why, fix)], source)


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _syntax_problem(error: yaml.YAMLError) -> Problem:
    said = " ".join(str(part) for part in (getattr(error, "problem", None), getattr(error, "reason", None)) if part)
    known = next((syntax for syntax in _SYNTAX if syntax.says in said), None)
    mark = getattr(error, "problem_mark", None)
    if known is None:
        why, fix = "not valid YAML here", "check indentation, quotes and brackets"
    else:
        why, fix = known.why, known.fix
        mark = (known.at_its_beginning and getattr(error, "context_mark", None)) or mark
    return Problem(WHOLE, mark.line + 1 if mark else None, "", why, fix)


class _Reader:
    """Walks the nodes once. Aliases are followed, within limits that no honest file meets."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self.loader = loader
        self.document = document
        self.overflow: Problem | None = None
        self._nodes = 0

    def value(self, node: Node, path: Path, depth: int) -> Any:
        if self._exhausted(node, path, depth):
            return None
        if node.tag not in _PLAIN_TAGS[type(node)]:
            self._problem(path, node, "a YAML tag (!) has no meaning here", "put text that begins with ! in quotes")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self._item(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                data = {**self._merged(value_node, path, depth), **data}
                continue
            if not isinstance(key_node, ScalarNode):
                self._problem(path, key_node, "a key is a single word, not a list or mapping", "write `key: value`")
                continue
            # The text as written: `on`, `no` and `1` are keys like any other.
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in first:
                self.document.lines[(*path, key)] = first[key]
                self._problem(
                    (*path, key), key_node, f"written twice, first on line {first[key]}", "keep one of the two"
                )
                continue
            first[key] = line
            self.document.lines[(*path, key)] = line
            data[key] = self.value(value_node, (*path, key), depth + 1)
        return data

    def _merged(self, node: Node, path: Path, depth: int) -> dict[str, Any]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if isinstance(source, MappingNode) and not self._exhausted(source, path, depth + 1):
                merged = {**self._mapping(source, path, depth + 1), **merged}
            elif not isinstance(source, MappingNode):
                self._problem(path, source, "`<<` takes a mapping", "write `<<: *anchor` of a mapping")
        return merged

    def _item(self, node: Node, path: Path, depth: int) -> Any:
        self.document.lines[path] = node.start_mark.line + 1
        return self.value(node, path, depth)

    def _scalar(self, node: Node) -> Any:
        # YAML 1.1 reads 12:30 as 750 and 2026-06-01 as a date; nobody who writes a declaration means that.
        if node.tag == _TIME or (node.tag in _NUMBERS and ":" in node.value):
            return node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError):  # 0x_, !!bool maybe, or thousands of digits
            return node.value

    def _exhausted(self, node: Node, path: Path, depth: int) -> bool:
        self._nodes += 1
        if depth > _MAX_DEPTH:
            self.overflow = Problem(
                WHOLE, node.start_mark.line + 1, "", "nested too deeply, or an anchor that contains itself", "unnest it"
            )
        elif self._nodes > _MAX_NODES:
            self.overflow = Problem(
                WHOLE, None, "", "its anchors unfold to far more than a declaration needs", "use fewer anchors"
            )
        return self.overflow is not None

    def _problem(self, path: Path, node: Node, why: str, fix: str) -> None:
        self.document.problems.append(Problem(spelled(path), node.start_mark.line + 1, "", why, fix))
