"""A notice as text: one template a kind of news, its first line the title."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.notices import Event, Notice

if TYPE_CHECKING:
    import jinja2

LONGEST = 1500
"""Characters of a body. Chats cut at 2000, and nobody reads that far."""


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    body: str


def render(notice: Notice, deployment: str, left_out: int = 0) -> Message:
    text = _template(notice.event).render(**notice.values, about=notice.about, deployment=deployment)
    title, _, body = text.strip().partition("\n")
    lines = [line.rstrip() for line in body.strip().splitlines()]
    body = "\n".join(lines)
    if len(body) > LONGEST:
        body = body[:LONGEST].rsplit("\n", 1)[0] + "\n(cut; `ocifree status` has all of it)"
    if left_out:
        body += f"\n\n{left_out} older messages could not be delivered and were left out: `ocifree status`"
    return Message(f"{deployment}: {title}", body.strip())


@cache
def _template(event: Event) -> jinja2.Template:
    return _environment().get_template(f"{event.name.lower()}.txt.j2")


@cache
def _environment() -> jinja2.Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Plain text for chats and mails: there is nothing to escape.
    return Environment(
        loader=PackageLoader("ocifree_pipeline.systems.notify"),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
