"""What keeps the controllers going: changes wake them, they work until nothing is left, and time wakes them again.

A controller is told the key of one thing that may need it, looks at what is, and brings it closer to what should be.
It speaks to the API through a client like anybody else.
"""

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.kubernetes.api import Api
from ocifree_pipeline.sandbox.kubernetes.client import Client
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.store import Change
from ocifree_pipeline.sandbox.kubernetes.trees import Tree
from ocifree_pipeline.sandbox.world import World

SERVICE = "kubernetes"
EVERYTHING = "*"
"""What a controller watches that wants to know of every object."""
ROUNDS = 20_000
RETRY_SECONDS = 5.0

logger = logging.getLogger(__name__)

Keys = Callable[["Here", Tree], Iterable[str]]
"""From an object that has changed to the keys of what a controller should look at."""


@dataclass(frozen=True, slots=True)
class Here:
    """Where a controller works. ``state`` is what the sandbox knows besides the API: machines, manifests."""

    client: Client
    state: Tree
    now: datetime
    immediate: bool
    strikes: Callable[[str], Rule | None]
    """The fault that strikes an operation, such as ``pull/example.com/image:1``."""
    discovered: "Discovered"
    timed: bool = True
    """Whether time or somebody's hand woke the controller, and not a change: only then is a failure tried again."""

    def left(self, since: str, seconds: float) -> float:
        """How long it takes until ``seconds`` have passed; nothing takes time in immediate mode."""
        return 0.0 if self.immediate else max(0.0, seconds - (self.now - parse(since)).total_seconds())

    def resource(self, api_version: str, kind: str) -> str | None:
        """How the client calls a kind, such as ``apps/v1/deployments``; None when it is not served."""
        found = self.discovered.kind(api_version, kind)
        return None if found is None else f"{found.api_version}/{found.plural}"

    def is_namespaced(self, api_version: str, kind: str) -> bool:
        found = self.discovered.kind(api_version, kind)
        return found is not None and found.namespaced

    def dependents(self, uid: str) -> list[tuple[str, Tree]]:
        """What names an object as its owner, each with its resource."""
        return self.discovered.dependents(uid)

    def inside(self, namespace: str) -> list[tuple[str, Tree]]:
        """Everything in a namespace, each with its resource."""
        return self.discovered.inside(namespace)

    def as_account(self, namespace: str, name: str) -> Client:
        """A client with the rights of a service account."""
        return self.discovered.as_account(namespace, name)

    @property
    def stamp(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


class Discovered(Protocol):
    """What a client finds out about the API before it works with it."""

    def kind(self, api_version: str, kind: str) -> Kind | None: ...

    def dependents(self, uid: str) -> list[tuple[str, Tree]]: ...

    def inside(self, namespace: str) -> list[tuple[str, Tree]]: ...

    def as_account(self, namespace: str, name: str) -> Client: ...


class Controller(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def watches(self) -> Mapping[str, Keys]:
        """By resource, such as ``pods`` or ``deployments.apps``."""

    def reconcile(self, here: Here, key: str) -> float | None:
        """Do what is to be done for ``key``. Seconds after which to look again, or None."""


class Runner:
    def __init__(self, world: World, cluster: str, api: Api, state: Tree) -> None:
        from ocifree_pipeline.sandbox.kubernetes import controllers

        self._world = weakref.ref(world)
        self._cluster = cluster
        self._state = state
        self._api = api
        self._running = False
        self.failures: list[str] = []
        self._controllers: dict[str, Controller] = {one.name: one for one in controllers.all_of_them()}
        self._queue: dict[tuple[str, str], bool] = {(name, key): timed for name, key, timed in state["queue"]}
        self._interested: dict[str, list[tuple[str, Keys]]] = {}
        for name, controller in self._controllers.items():
            for resource, keys in controller.watches.items():
                self._interested.setdefault(resource, []).append((name, keys))
        api.store.listen(self._changed)
        api.after_write = self.run

    def wake(self, controller: str, key: str) -> None:
        """Let a controller look at ``key``, and work at once unless somebody works already."""
        self._enqueue(controller, key, timed=True)
        self.run()

    def wake_all(self) -> None:
        """Let every controller look at everything that it watches."""
        here = self._here()
        for resource, listeners in self._interested.items():
            for tree in self._api.store.all(resource):
                for name, keys in listeners:
                    for key in keys(here, tree):
                        self._enqueue(name, key)
        self.run()

    def due(self, controller: str, key: str) -> None:
        self._state["waking"].pop(f"{controller} {key}", None)
        self._enqueue(controller, key, timed=True)

    def run(self) -> None:
        """Work until nothing is left. Does nothing when called by a controller's own writing."""
        if self._running:
            return
        self._running = True
        try:
            for _ in range(ROUNDS):
                if not self._queue:
                    return
                (name, key), timed = next(iter(self._queue.items()))
                del self._queue[name, key]
                self._work(name, key, timed=timed)
            logger.error("the controllers of %s find no end: %s", self._cluster, list(self._queue)[:5])
        finally:
            self._running = False
            self._state["queue"] = [[name, key, timed] for (name, key), timed in self._queue.items()]

    def _work(self, name: str, key: str, *, timed: bool) -> None:
        controller = self._controllers.get(name)
        if controller is None:
            return
        try:
            again = controller.reconcile(self._here(timed=timed), key)
        except Refusal as refusal:
            logger.debug("controller %s at %s: %s", name, key, refusal)
            again = RETRY_SECONDS
        except Exception as error:
            # What one object does to one controller must not stop the others, nor whoever wrote the object.
            self._note_failure(f"controller {name} at {key}", error)
            again = None
        if again is not None:
            self._look_again(name, key, again)

    def _look_again(self, name: str, key: str, seconds: float) -> None:
        world, waking = self._its_world(), self._state["waking"]
        which = f"{name} {key}"
        if which in waking:
            world.clock.cancel(waking[which])
        waking[which] = world.clock.later(seconds, "kubernetes.wake", cluster=self._cluster, controller=name, key=key)

    def _changed(self, change: Change) -> None:
        here = self._here()
        for resource in (change.resource, EVERYTHING):
            for name, keys in self._interested.get(resource, ()):
                try:
                    found = list(keys(here, change.last))
                except Exception as error:
                    self._note_failure(f"controller {name} woken by {resource}", error)
                    continue
                for key in found:
                    self._enqueue(name, key)

    def _note_failure(self, where: str, error: Exception) -> None:
        logger.exception("%s of cluster %s failed", where, self._cluster)
        self.failures.append(f"{where}: {error!r}")

    def _enqueue(self, name: str, key: str, *, timed: bool = False) -> None:
        self._queue[name, key] = timed or self._queue.get((name, key), False)

    def _here(self, *, timed: bool = False) -> Here:
        world = self._its_world()
        return Here(
            client=self._api.client,
            state=self._state,
            now=world.clock.now(),
            immediate=world.clock.mode == "immediate",
            strikes=lambda operation: instruments.strikes(world, SERVICE, operation),
            discovered=self._api,
            timed=timed,
        )

    def _its_world(self) -> World:
        world = self._world()
        if world is None:
            raise LookupError("the world of this cluster has gone")
        return world
