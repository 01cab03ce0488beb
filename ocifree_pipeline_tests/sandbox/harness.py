"""A sandbox in a background thread, and real clients that talk to it over a real socket.

    def test_something(sandbox: RunningSandbox) -> None:
        identity = sandbox.client(oci.identity.IdentityClient)
        sandbox.advance(60)                                  # move the virtual clock
        sandbox.inside(lambda world: world.get("vcn", ocid))  # look at or change the world, on its own thread

Every reply is checked against the SDK's models while it is served (``strict``); what did not fit fails the test.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import requests

from ocifree_pipeline.sandbox import profiles
from ocifree_pipeline.sandbox.clock import Mode
from ocifree_pipeline.sandbox.door.http import Limits
from ocifree_pipeline.sandbox.door.server import Sandbox
from ocifree_pipeline.sandbox.faults import Faults
from ocifree_pipeline.sandbox.home import Home
from ocifree_pipeline.sandbox.oracle.wire import Router
from ocifree_pipeline.sandbox.recorder import Recorder
from ocifree_pipeline.sandbox.world import World

Result = TypeVar("Result")


@cache
def owner_keys() -> profiles.KeyPair:
    """Made once per process: RSA keys take their time."""
    return profiles.make_key_pair()


@cache
def other_keys() -> profiles.KeyPair:
    return profiles.make_key_pair()


@cache
def _signer(tenancy: str, user: str, fingerprint: str, key_file: str) -> Any:
    """Made once: reading an RSA key and proving it sound takes as long as ten requests."""
    import oci

    return oci.signer.Signer(tenancy, user, fingerprint, key_file)


@cache
def _read_keys_once() -> None:
    """Each SDK client reads an RSA key and proves it sound. The key may be shared; its signer may not."""
    import oci.signer

    oci.signer.load_private_key = lru_cache(maxsize=16)(oci.signer.load_private_key)


@dataclass
class RunningSandbox:
    sandbox: Sandbox
    loop: asyncio.AbstractEventLoop
    config: dict[str, str]
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def endpoint(self) -> str:
        return self.sandbox.endpoint

    @property
    def faults(self) -> Faults:
        return self.sandbox.faults

    @property
    def recorder(self) -> Recorder:
        return self.sandbox.recorder

    @property
    def tenancy(self) -> str:
        return self.config["tenancy"]

    def client(self, cls: Callable[..., Any], **options: Any) -> Any:
        """A real SDK client. It does not retry unless told so: ``retry_strategy=oci.retry.DEFAULT_RETRY_STRATEGY``."""
        import oci

        options = {"retry_strategy": oci.retry.NoneRetryStrategy(), "timeout": (5, 30)} | options
        return cls(self.config, service_endpoint=self.endpoint, **options)

    def signer(self, **changes: str) -> Any:
        """The SDK's request signer, usable as ``auth=`` of requests."""
        config = self.config | changes
        return _signer(config["tenancy"], config["user"], config["fingerprint"], config["key_file"])

    @cached_property
    def owner(self) -> Any:
        return self.signer()

    def request(self, method: str, path: str, *, host: str = "", **options: Any) -> requests.Response:
        """One raw request, signed unless ``auth`` says otherwise; to ``host`` by way of the sandbox as its proxy."""
        options = {"auth": self.owner, "timeout": 30} | options
        if host:
            return self.session.request(method, f"http://{host}{path}", proxies={"http": self.endpoint}, **options)
        return self.session.request(method, self.endpoint + path, **options)

    def inside(self, look: Callable[[World], Result]) -> Result:
        """Run a function on the world where no request runs at the same time."""
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(look(self.sandbox.world))
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(timeout=30)

    def advance(self, seconds: float) -> None:
        def move(world: World) -> None:
            world.clock.advance(seconds)
            world.settle()

        self.inside(move)

    def state(self) -> dict[str, Any]:
        """The world's state without what every request moves on: its number, the time."""
        state = self.inside(lambda world: world.to_json())
        state["counters"].pop("request", None)
        state["clock"].pop("now")
        return state


@contextmanager
def running(
    directory: Path,
    *,
    mode: Mode = "immediate",
    profile: profiles.Profile | None = None,
    limits: Limits | None = None,
    router: Router | None = None,
    seed: int = 7,
) -> Iterator[RunningSandbox]:
    """A fresh sandbox on a port of its own; stopped, and checked for leftovers, when the block ends."""
    _read_keys_once()
    keys = owner_keys()
    world = World(directory / "world", seed=seed, mode=mode)
    world.directory.mkdir(parents=True)
    config = profiles.seed(world, profile or profiles.Profile(), keys.public_pem)
    config["key_file"] = str(profiles.write_private_key(keys, directory / "owner.pem"))
    sandbox = Sandbox(world, limits=limits or Limits(), strict=True, home=Home(directory))
    if router is not None:
        sandbox.dispatcher.router = router
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(timeout=10)
    here = RunningSandbox(sandbox, loop, config)
    try:
        yield here
    finally:
        here.session.close()
        asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(timeout=10)
        left = asyncio.run_coroutine_threadsafe(_others(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
    assert not left, f"tasks that outlived the sandbox: {left}"
    assert not sandbox.dispatcher.mismatches, sandbox.dispatcher.mismatches


async def _others() -> list[str]:
    return [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
