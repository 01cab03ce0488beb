"""The process behind ``ocifree sandbox up``: opens the doors, writes the ready file, and waits for the end."""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from ocifree_pipeline.deployment.errors import Conflict, OcifreeError, PreconditionMissing
from ocifree_pipeline.sandbox import private_files
from ocifree_pipeline.sandbox.clock import Mode
from ocifree_pipeline.sandbox.door.server import Sandbox
from ocifree_pipeline.sandbox.home import Home, profile_from
from ocifree_pipeline.sandbox.oracle.wire import load_services
from ocifree_pipeline.sandbox.world import World

IDLE_CHECK_SECONDS = 1.0

logger = logging.getLogger("ocifree_pipeline.sandbox")


def main() -> int:
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = Home(options.directory.absolute()).make()
    try:
        with _alone(home):
            asyncio.run(_serve(home, options))
    except (OcifreeError, ValueError, OSError) as error:
        logger.error("%s", error)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ocifree_pipeline.sandbox", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path(".ocifree/sandbox"))
    parser.add_argument("--plain-port", type=int, default=0, help="0: the system chooses")
    parser.add_argument("--proxy-port", type=int, default=0, help="0: the system chooses")
    parser.add_argument("--profile", type=json.loads, help="the tenancy of a new world, as JSON")
    parser.add_argument("--seed", type=int, help="of a new world")
    parser.add_argument("--mode", choices=get_args(Mode), help="how time moves")
    parser.add_argument("--rate", type=float, help="virtual seconds per second in mode seconds")
    parser.add_argument("--fresh", action="store_true", help="forget the world that was left here")
    parser.add_argument("--idle-hours", type=float, default=12.0, help="end after so many hours without a request")
    return parser.parse_args()


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One process per directory. The lock ends with the process, so that others can see whether it lives."""
    descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(20):  # somebody may be looking at the lock right now
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
        else:
            raise Conflict(
                f"a sandbox runs in {home.directory} already",
                why="one directory holds one world",
                fix="ocifree sandbox status shows it, ocifree sandbox down ends it",
            )
        home.ready_file.unlink(missing_ok=True)  # what a killed process left behind
        yield
    finally:
        os.close(descriptor)


def _world(home: Home, options: argparse.Namespace) -> World:
    """The world that was left here, or a new one."""
    world = World(home.world_directory, seed=0 if options.seed is None else options.seed)
    if options.fresh:
        home.forget()
    if home.load(world):
        if options.profile or options.seed not in {None, world.seed}:
            raise PreconditionMissing(
                f"{home.directory} holds a world already",
                why="profile and seed belong to a new one",
                fix="add --fresh to begin anew, or leave them out",
            )
    else:
        home.furnish(world, profile_from(options.profile or {}))
    if options.mode or options.rate:
        world.clock.set_mode(options.mode or world.clock.mode, options.rate or world.clock.rate)
    return world


async def _serve(home: Home, options: argparse.Namespace) -> None:
    load_services()  # transitions of a saved world must be known before it is loaded
    world = _world(home, options)
    sandbox = Sandbox(world, home=home, port=options.plain_port, proxy_port=options.proxy_port)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, sandbox.stopped.set)
    await sandbox.start()
    try:
        _announce(home, sandbox)
        await _end(sandbox, options.idle_hours * 3600)
    finally:
        home.ready_file.unlink(missing_ok=True)
        await sandbox.stop()
        home.save(world)


def _announce(home: Home, sandbox: Sandbox) -> None:
    ready = {
        "pid": os.getpid(),
        "plainPort": sandbox.port,
        "proxyPort": sandbox.proxy_port,
        "token": sandbox.token,
        "started": time.time(),
    }
    private_files.write(home.ready_file, json.dumps(ready).encode())
    logger.info("plain door on port %d, proxy door on port %d", sandbox.port, sandbox.proxy_port)


async def _end(sandbox: Sandbox, idle_limit: float) -> None:
    """Until somebody says stop, or nobody has said anything for long."""
    while sandbox.idle_seconds() < idle_limit:
        try:
            async with asyncio.timeout(IDLE_CHECK_SECONDS):
                await sandbox.stopped.wait()
        except TimeoutError:
            continue
        logger.info("told to stop")
        return
    logger.info("nobody asked anything for %.1f hours", idle_limit / 3600)


if __name__ == "__main__":
    sys.exit(main())
