"""How a node answers: a list of one message for itself, pieces of a file, or a refusal with a gRPC code."""

from collections.abc import Callable
from typing import Any

from ocifree_pipeline.protocols.talos import message
from ocifree_pipeline.sandbox.talos.node import Node
from ocifree_pipeline.sandbox.talos.settings import Settings

CHUNK = 64 * 1024


class Refusal(Exception):
    """A gRPC code, and what the node says."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code
        self.said = said


Call = Callable[[Node, list[Any]], list[Any]]


def reply(name: str, **fields: Any) -> list[Any]:
    """One node answers for itself: a list of one message."""
    return [message(f"machine.{name}Response")(messages=[message(f"machine.{name}")(**fields)])]


def control_plane(node: Node, call: str) -> Settings:
    settings = node.settings
    if settings is None:
        raise Refusal("UNIMPLEMENTED", f"machine type is not set, cannot use {call} API")
    if not settings.is_control_plane:
        raise Refusal("UNIMPLEMENTED", f"{call} is only available on control plane nodes")
    return settings


def data(content: bytes) -> list[Any]:
    piece = message("common.Data")
    return [piece(bytes=content[start : start + CHUNK]) for start in range(0, len(content), CHUNK)]
