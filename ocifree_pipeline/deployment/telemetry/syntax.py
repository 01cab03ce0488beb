"""The syntax of Grafana Alloy's configuration, as far as ours uses it: blocks, attributes, and values of expressions.

    prometheus.scrape "node" {
      targets    = discovery.relabel.node.output
      forward_to = [prometheus.relabel.node.receiver]
    }

References to other components stay references; calls of `sys.env`, `string.join` and the like are computed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(
    r"(?P<space>[ \t\r]+)|(?P<line>\n)|(?P<comment>//[^\n]*|/\*.*?\*/)"
    r'|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)'
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>[{}\[\]().,=+])",
    re.DOTALL,
)
WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}


class Invalid(ValueError):
    """A configuration that Alloy would not load. The message names line and reason."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Reference:
    """What a component exports: `prometheus.remote_write.cloud.receiver`."""

    path: str


@dataclass(frozen=True, slots=True)
class Block:
    """`name "label" { attributes, blocks }`."""

    name: str
    label: str
    attributes: Mapping[str, Any]
    blocks: tuple[Block, ...]
    line: int

    @property
    def ident(self) -> str:
        return f"{self.name}.{self.label}" if self.label else self.name

    def all(self, name: str) -> Iterator[Block]:
        return (block for block in self.blocks if block.name == name)

    def one(self, name: str) -> Block | None:
        return next(self.all(name), None)

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)


Environment = Mapping[str, str]


def parse(text: str, environ: Environment | None = None) -> tuple[Block, ...]:
    """The blocks of a configuration. `environ` is what `sys.env` finds; a name that is not there is empty."""
    parser = _Parser(list(_tokens(text)), environ or {})
    attributes, blocks = parser.body(end="")
    if attributes:
        raise Invalid(1, f"{next(iter(attributes))} stands outside of every block")
    return tuple(blocks)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Invalid(line, f"illegal character {text[at]!r}")
        kind = str(match.lastgroup)
        if kind not in {"space", "comment", "line"}:
            yield _Token(kind, match[0], line)
        line += match[0].count("\n")
        at = match.end()
    yield _Token("end", "", line)


class _Parser:
    def __init__(self, tokens: list[_Token], environ: Environment) -> None:
        self._tokens = tokens
        self._at = 0
        self._functions: Mapping[str, Callable[..., Any]] = {
            "sys.env": lambda name: environ.get(name, ""),
            "string.join": lambda parts, between: between.join(parts),
            "string.format": lambda form, *values: form % values,
            "concat": lambda *lists: [one for some in lists for one in some],
            "array.concat": lambda *lists: [one for some in lists for one in some],
            "coalesce": lambda *values: next((one for one in values if one), None),
        }

    def body(self, end: str) -> tuple[dict[str, Any], list[Block]]:
        attributes: dict[str, Any] = {}
        blocks: list[Block] = []
        while self._here.text != end or self._here.kind not in {"sign", "end"}:
            first = self._take("name")
            name = first.text
            while self._skip("."):
                name += "." + self._take("name").text
            if self._skip("="):
                if name in attributes:
                    raise Invalid(first.line, f"attribute {name!r} is set twice")
                attributes[name] = self._value()
                continue
            label = json.loads(self._take("string").text) if self._here.kind == "string" else ""
            self._expect("{")
            inner, nested = self.body(end="}")
            self._expect("}")
            blocks.append(Block(name, label, inner, tuple(nested), first.line))
        return attributes, blocks

    def _value(self) -> Any:
        value = self._operand()
        while self._skip("+"):
            line, other = self._here.line, self._operand()
            if not isinstance(value, str) or not isinstance(other, str):
                raise Invalid(line, "only texts are joined by + here")
            value += other
        return value

    def _operand(self) -> Any:
        token = self._next()
        match token.kind:
            case "string":
                try:
                    return json.loads(token.text)
                except ValueError:
                    raise Invalid(token.line, f"unknown escape in {token.text}") from None
            case "raw":
                return token.text[1:-1]
            case "number":
                return float(token.text) if "." in token.text else int(token.text)
            case "name" if token.text in WORDS:
                return WORDS[token.text]
            case "name":
                return self._reference(token)
        if token.text == "[":
            return self._list("]")
        if token.text == "{":
            return self._object()
        raise Invalid(token.line, f"expected a value, got {token.text or 'the end'!r}")

    def _reference(self, first: _Token) -> Any:
        path = first.text
        while self._skip("."):
            path += "." + self._take("name").text
        if not self._skip("("):
            return Reference(path)
        arguments = self._list(")")
        function = self._functions.get(path)
        if function is None:
            raise Invalid(first.line, f"function {path!r} does not exist, or is not known here")
        try:
            return function(*arguments)
        except (TypeError, ValueError) as error:
            raise Invalid(first.line, f"{path}: {error}") from error

    def _list(self, end: str) -> list[Any]:
        found: list[Any] = []
        while not self._skip(end):
            found.append(self._value())
            if not self._skip(","):
                self._expect(end)
                break
        return found

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._skip("}"):
            key = self._next()
            if key.kind not in {"name", "string"}:
                raise Invalid(key.line, f"expected a field name, got {key.text!r}")
            self._expect("=")
            found[json.loads(key.text) if key.kind == "string" else key.text] = self._value()
            if not self._skip(","):
                self._expect("}")
                break
        return found

    @property
    def _here(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._here
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _skip(self, sign: str) -> bool:
        if self._here.kind == "sign" and self._here.text == sign:
            self._next()
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise Invalid(self._here.line, f"expected {sign!r}, got {self._here.text or 'the end'!r}")

    def _take(self, kind: str) -> _Token:
        if self._here.kind != kind:
            raise Invalid(self._here.line, f"expected a {kind}, got {self._here.text or 'the end'!r}")
        return self._next()
