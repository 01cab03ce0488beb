"""What an asset leaves in the record: one line, the plan, facts for those downstream, numbers, evidence, links."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from pydantic import BaseModel

Scalar = str | int | float | bool | None


class Facts(BaseModel, frozen=True, extra="forbid"):
    """What downstream assets may rely on: identity, not weather.

    Facts are stored in clear, so they never hold a secret: a secret is named by its place in the vault. Equal facts
    give an equal data version, and an equal data version does not disturb what hangs on it.
    """

    def version(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Returned by the body of an asset after it has read back what it made."""

    summary: str
    facts: Facts
    plan: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    evidence: Sequence[Mapping[str, Scalar]] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    look_inside: str | None = None

    def as_metadata(self, seconds: float) -> dict[str, dg.MetadataValue]:
        """Dagster's metadata, in the order in which a person asks: how it stands, where to look, what changed.

        Numbers stand at the top level, so that the UI plots them over time.
        """
        metadata: dict[str, dg.MetadataValue] = {"summary": dg.MetadataValue.text(self.summary)}
        if self.look_inside:
            metadata["look inside"] = dg.MetadataValue.md(f"`{self.look_inside}`")
        metadata |= {name: dg.MetadataValue.url(url) for name, url in self.links.items()}
        metadata |= {
            name: dg.MetadataValue.int(number) if isinstance(number, int) else dg.MetadataValue.float(number)
            for name, number in self.numbers.items()
        }
        if self.evidence:
            metadata["evidence"] = as_table(self.evidence)
        return {
            **metadata,
            "plan": dg.MetadataValue.md("\n".join(f"- {line}" for line in self.plan) or "nothing to do"),
            "facts": dg.MetadataValue.json(self.facts.model_dump(mode="json")),
            "seconds": dg.MetadataValue.float(round(seconds, 3)),
        }


def as_table(rows: Sequence[Mapping[str, Scalar]]) -> dg.TableMetadataValue:
    """Rows as a table that the UI shows in its place; the first row names the columns."""
    columns = list(rows[0])
    return dg.MetadataValue.table(
        records=[dg.TableRecord({column: _cell(row.get(column)) for column in columns}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(column, _type(rows, column)) for column in columns]),
    )


def _cell(value: Scalar) -> str | int | float | bool:
    if value is None:
        return ""
    return value if type(value) in (int, float, bool) else str(value)  # an enum is no plain text to Dagster


def _type(rows: Sequence[Mapping[str, Scalar]], column: str) -> str:
    names = {bool: "bool", int: "int", float: "float"}
    found = {names.get(type(row.get(column)), "string") for row in rows}
    return found.pop() if len(found) == 1 else "string"
