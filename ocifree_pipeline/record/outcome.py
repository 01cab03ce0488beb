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
        """Dagster's metadata. Numbers stand at the top level, so that the UI plots them over time."""
        metadata: dict[str, dg.MetadataValue] = {
            "summary": dg.MetadataValue.text(self.summary),
            "plan": dg.MetadataValue.md("\n".join(f"- {line}" for line in self.plan) or "nothing to do"),
            "facts": dg.MetadataValue.json(self.facts.model_dump(mode="json")),
            "seconds": dg.MetadataValue.float(round(seconds, 3)),
        }
        if self.evidence:
            metadata["evidence"] = dg.MetadataValue.md(as_markdown(self.evidence))
        if self.look_inside:
            metadata["look inside"] = dg.MetadataValue.md(f"`{self.look_inside}`")
        metadata |= {name: dg.MetadataValue.url(url) for name, url in self.links.items()}
        metadata |= {
            name: dg.MetadataValue.int(number) if isinstance(number, int) else dg.MetadataValue.float(number)
            for name, number in self.numbers.items()
        }
        return metadata


def as_markdown(rows: Sequence[Mapping[str, Scalar]]) -> str:
    """Rows as a Markdown table; the first row names the columns."""
    columns = list(rows[0])
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row.get(column)) for column in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Scalar) -> str:
    return "" if value is None else str(value).replace("|", "\\|")
