"""What the played services would mail to people: kept in the world for whoever looks, never sent."""

from typing import Any

from ocifree_pipeline.sandbox.world import World

OUTBOX = "outbox"


def send(world: World, to: list[str], subject: str, text: str, **about: Any) -> None:
    """One mail. ``about`` says what it concerns, such as the OCID of a budget."""
    box: list[dict[str, Any]] = world.facts.setdefault(OUTBOX, [])
    box.append({"at": world.clock.stamp(), "to": list(to), "subject": subject, "text": text, "about": about})


def messages(world: World) -> list[dict[str, Any]]:
    """All mails, oldest first."""
    return list(world.facts.get(OUTBOX, ()))
