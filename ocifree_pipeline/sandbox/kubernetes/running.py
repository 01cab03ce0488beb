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
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.store import Change
from ocifree_pipeline.sandbox.kubernetes.trees import Tree
from ocifree_pipeline.sandbox.world import World

SERVICE = "kubernetes"
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

    def left(self, since: str, seconds: float) -> float:
        """How long it takes until ``seconds`` have passed; nothing takes time in immediate mode."""
        return 0.0 if self.immediate else max(0.0, seconds - (self.now - parse(since)).total_seconds())

    @property
    def stamp(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


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
        self._controllers: dict[str, Controller] = {one.name: one for one in controllers.all_of_them()}
        self._queue: dict[tuple[str, str], None] = dict.fromkeys((name, key) for name, key in state["queue"])
        self._interested: dict[str, list[tuple[str, Keys]]] = {}
        for name, controller in self._controllers.items():
            for resource, keys in controller.watches.items():
                self._interested.setdefault(resource, []).append((name, keys))
        api.store.listen(self._changed)
        api.after_write = self.run

    def wake(self, controller: str, key: str) -> None:
        """Let a controller look at ``key``, and work at once unless somebody works already."""
        self._enqueue(controller, key)
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
        self._enqueue(controller, key)

    def run(self) -> None:
        """Work until nothing is left. Does nothing when called by a controller's own writing."""
        if self._running:
            return
        self._running = True
        try:
            for _ in range(ROUNDS):
                if not self._queue:
                    return
                (name, key), _ = next(iter(self._queue.items()))
                del self._queue[name, key]
                self._work(name, key)
            logger.error("the controllers of %s find no end: %s", self._cluster, list(self._queue)[:5])
        finally:
            self._running = False
            self._state["queue"] = [list(one) for one in self._queue]

    def _work(self, name: str, key: str) -> None:
        controller = self._controllers.get(name)
        if controller is None:
            return
        try:
            again = controller.reconcile(self._here(), key)
        except Refusal as refusal:
            logger.debug("controller %s at %s: %s", name, key, refusal)
            again = RETRY_SECONDS
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
        for name, keys in self._interested.get(change.resource, ()):
            for key in keys(here, change.last):
                self._enqueue(name, key)

    def _enqueue(self, name: str, key: str) -> None:
        self._queue[name, key] = None

    def _here(self) -> Here:
        world = self._its_world()
        return Here(
            client=self._api.client,
            state=self._state,
            now=world.clock.now(),
            immediate=world.clock.mode == "immediate",
            strikes=lambda operation: instruments.strikes(world, SERVICE, operation),
        )

    def _its_world(self) -> World:
        world = self._world()
        if world is None:
            raise LookupError("the world of this cluster has gone")
        return world
