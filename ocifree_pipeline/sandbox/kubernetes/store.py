"""Where the objects of one cluster live, and the history that watches read.

The objects are part of the world's state. The history is not: after a restore, or when it has grown too long, a
watch from before is answered with 410, as it is after a compaction of etcd.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ocifree_pipeline.sandbox.kubernetes.trees import Tree

HISTORY = 4096


@dataclass(frozen=True, slots=True)
class Change:
    """``before`` is None for a creation, ``after`` None for a removal; ``after`` of a removal is in ``last``."""

    revision: int
    resource: str
    before: Tree | None
    after: Tree | None
    last: Tree


Listener = Callable[[Change], None]


def key_of(tree: Tree) -> str:
    metadata = tree["metadata"]
    return key(metadata.get("namespace", ""), metadata["name"])


def key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


class Store:
    """``resource`` is the plural with its group, such as ``pods`` or ``deployments.apps``."""

    def __init__(self, state: Tree) -> None:
        state.setdefault("revision", 1)
        state.setdefault("objects", {})
        self.state = state
        self.compacted: int = state["revision"]
        self._history: deque[Change] = deque()
        self._listeners: list[Listener] = []

    @property
    def revision(self) -> int:
        revision: int = self.state["revision"]
        return revision

    def table(self, resource: str) -> dict[str, Tree]:
        table: dict[str, Tree] = self.state["objects"].setdefault(resource, {})
        return table

    def get(self, resource: str, namespace: str, name: str) -> Tree | None:
        return self.table(resource).get(key(namespace, name))

    def all(self, resource: str, namespace: str = "") -> list[Tree]:
        """In the order of their keys, as etcd lists them."""
        table = self.table(resource)
        prefix = f"{namespace}/" if namespace else ""
        return [table[one] for one in sorted(table) if one.startswith(prefix)]

    def put(self, resource: str, tree: Tree) -> Tree:
        """Store an object, which is the store's from now on, under a new resource version."""
        revision = self._next()
        tree["metadata"]["resourceVersion"] = str(revision)
        table, name = self.table(resource), key_of(tree)
        before = table.get(name)
        table[name] = tree
        self._note(Change(revision, resource, before, tree, tree))
        return tree

    def remove(self, resource: str, tree: Tree) -> Tree:
        before = self.table(resource).pop(key_of(tree))
        revision = self._next()
        last = before | {"metadata": before["metadata"] | {"resourceVersion": str(revision)}}
        self._note(Change(revision, resource, before, None, last))
        return last

    def drop_table(self, resource: str) -> None:
        for tree in list(self.table(resource).values()):
            self.remove(resource, tree)
        self.state["objects"].pop(resource, None)

    # history --------------------------------------------------------------------------------------------------------

    def since(self, revision: int, resource: str) -> Iterator[Change]:
        return (one for one in tuple(self._history) if one.revision > revision and one.resource == resource)

    def is_too_old(self, revision: int) -> bool:
        return revision < self.compacted

    def compact(self) -> None:
        """Forget the history: every watch has to begin anew."""
        self._history.clear()
        self.compacted = self.revision

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each change from now on; the answer ends that."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def _next(self) -> int:
        self.state["revision"] += 1
        return self.revision

    def _note(self, change: Change) -> None:
        self._history.append(change)
        if len(self._history) > HISTORY:
            self.compacted = self._history.popleft().revision
        for listener in tuple(self._listeners):
            listener(change)
