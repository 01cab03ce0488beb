"""A node passes a call on to the nodes that the caller names, and says in each answer whose it is.

`node` names one and changes nothing in its answer; `nodes` names several, whose answers come in one list.
"""

from collections.abc import Callable, Iterable
from typing import Any

from ocifree_pipeline.sandbox.talos.node import Node, nodes
from ocifree_pipeline.sandbox.talos.replies import Refusal

Answer = Callable[[Node], list[Any]]


def answers(at: Node, metadata: Any, answer: Answer) -> list[Any]:
    """Of the node that was dialled, or of those that were named. In maintenance mode a node passes nothing on."""
    if at.configuration is None:
        return answer(at)
    one, several = _named(metadata, "node"), _named(metadata, "nodes")
    if one:
        return answer(_found(at, one[0]))
    if len(several) == 1:
        return [_signed(reply, several[0]) for reply in answer(_found(at, several[0]))]
    return _together(at, several, answer) if several else answer(at)


def _named(metadata: Any, name: str) -> list[str]:
    found: Iterable[str] = metadata.getall(name, ()) if metadata is not None else ()
    return [part.strip() for text in found for part in text.split(",")]


def _found(at: Node, name: str) -> Node:
    """By address or name. Only nodes of the same cluster believe each other."""
    settings = at.settings
    for one in nodes(at.world):
        if name in {one.address, one.hostname} and one.is_running:
            theirs = one.settings
            if one.key == at.key or (settings and theirs and settings.identity == theirs.identity):
                return one
    raise Refusal("UNAVAILABLE", f'connection error: desc = "transport: Error while dialing: dial tcp {name}:50000"')


def _together(at: Node, names: list[str], answer: Answer) -> list[Any]:
    """Lists of one become a list of all; who cannot answer says why in its place."""
    made: list[Any] = []
    problems: list[tuple[str, str]] = []
    for name in names:
        try:
            made += [_signed(reply, name) for reply in answer(_found(at, name))]
        except Refusal as refusal:
            problems.append((name, refusal.said))
    if not made:
        raise Refusal("UNAVAILABLE", "; ".join(f"{name}: {said}" for name, said in problems))
    first, *others = made
    if "messages" not in first.DESCRIPTOR.fields_by_name:
        return made
    for other in others:
        first.messages.extend(other.messages)
    for name, said in problems:
        problem = first.messages.add()
        problem.metadata.hostname, problem.metadata.error = name, said
    return [first]


def _signed(reply: Any, name: str) -> Any:
    listed = reply.messages if "messages" in reply.DESCRIPTOR.fields_by_name else [reply]
    for one in listed:
        if "metadata" in one.DESCRIPTOR.fields_by_name:
            one.metadata.hostname = name
    return reply
