"""The nodes of a rig behind real sockets, and unmodified clients that talk to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ocifree_pipeline.sandbox import machines
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT, Rig

Result = TypeVar("Result")


@dataclass
class Served:
    rig: Rig
    loop: asyncio.AbstractEventLoop
    directory: Path
    _sessions: list[Any] = field(default_factory=list)

    def inside(self, look: Callable[[Rig], Result]) -> Result:
        """Run something on the rig where no request runs at the same time."""
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(look(self.rig))
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(timeout=30)

    def wait(self, seconds: float = 10) -> None:
        self.inside(lambda rig: rig.wait(seconds))

    def port(self, name: str, port: int = 8006) -> int | None:
        def find(rig: Rig) -> int | None:
            reached = machines.find(rig.world, rig.machine(name).addresses[0], port)
            return reached.address[1] if reached is not None and reached.address else None

        return self.inside(find)

    def authority(self, name: str = "pve1") -> str:
        path = self.directory / f"{name}.pem"
        path.write_text(self.inside(lambda rig: rig.ok(name, "cat /etc/pve/pve-root-ca.pem")))
        return str(path)

    def client(self, name: str = "pve1", **how: Any) -> Any:
        """A proxmoxer session; with a password of root unless told otherwise."""
        from proxmoxer import ProxmoxAPI

        given = {"user": "root@pam"} | ({} if "token_name" in how else {"password": ROOT}) | how
        made = ProxmoxAPI("127.0.0.1", port=self.port(name), verify_ssl=self.authority(name), timeout=20, **given)
        self._sessions.append(made._store["session"])
        return made

    def done(self, client: Any, upid: str) -> str:
        """How a task ended."""
        node = upid.split(":")[1]
        for _ in range(200):
            status = client.nodes(node).tasks(upid).status.get()
            if status["status"] == "stopped":
                return str(status["exitstatus"])
            self.wait(1)
        raise TimeoutError(upid)


@contextmanager
def served(directory: Path, count: int = 1, *, clustered: bool = False) -> Iterator[Served]:
    rig = Rig.of(directory, count)
    if clustered:
        rig.form(count)
    for number in range(1, count + 1):
        rig.ok(f"pve{number}", "chpasswd", f"root:{ROOT}\n")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    here = Served(rig, loop, directory)
    try:
        yield here
    finally:
        for session in here._sessions:
            session.close()
        asyncio.run_coroutine_threadsafe(machines.close(rig.world), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
