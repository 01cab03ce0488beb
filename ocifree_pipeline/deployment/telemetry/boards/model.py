"""A dashboard as data: sections of panels, each panel with its queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "number", "table", "logs"]
Source = Literal["metrics", "logs", "usage"]


@dataclass(frozen=True, slots=True)
class Panel:
    """`queries` are pairs of a legend and an expression, in which `$C` and `$D` stand for matchers."""

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: Kind = "lines"
    unit: str = "short"
    width: int = 8
    source: Source = "metrics"
    help: str = ""
    red_above: float | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """`name` is part of its uid, so it stays."""

    name: str
    title: str
    sections: tuple[tuple[str, tuple[Panel, ...]], ...]

    def panels(self) -> Iterator[Panel]:
        for _, panels in self.sections:
            yield from panels


def lines(title: str, legend: str, query: str, unit: str = "short", *, width: int = 8, help: str = "") -> Panel:  # noqa: A002
    return Panel(title, ((legend, query),), unit=unit, width=width, help=help)


def number(
    title: str, query: str, unit: str = "short", *, red_above: float | None = None, source: Source = "metrics"
) -> Panel:
    return Panel(title, (("", query),), "number", unit, 4, source, red_above=red_above)


def table(title: str, query: str, *, width: int = 12) -> Panel:
    return Panel(title, (("", query),), "table", width=width)
