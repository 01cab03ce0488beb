"""ocifree sandbox: the private internet on this machine, and the hand that moves it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ocifree_pipeline.cli import sandbox_hand, sandbox_machines
from ocifree_pipeline.cli.output import say, say_json, table
from ocifree_pipeline.cli.sandbox_running import HERE, Directory, Json, running_in, told

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.process import Running

app = typer.Typer(help="Play Oracle on this machine: no account, no cost, nothing leaves it.", no_args_is_help=True)
app.add_typer(sandbox_hand.fault, name="fault")
app.add_typer(sandbox_hand.clock, name="clock")
app.add_typer(sandbox_hand.record, name="record")
app.add_typer(sandbox_machines.machine, name="machine")
app.add_typer(sandbox_machines.link, name="link")

Region = Annotated[str | None, typer.Option(help="Home region of a new tenancy. [default: uk-london-1]")]
Account = Annotated[str | None, typer.Option(help="Kind of a new account: free or payg. [default: free]")]
Given = Annotated[str | None, typer.Option("--allowance", help="What is free. [default: the one in force]")]
Ocpus = Annotated[
    int | None, typer.Option("--a1-ocpus", help="A1 limit, if it is not the allowance: what is above it is billed.")
]
Memory = Annotated[int | None, typer.Option("--a1-memory-gb", help="A1 memory limit, if it is not the allowance.")]
Absent = Annotated[int | None, typer.Option("--a1-absent-ad", help="Number of the AD that has no A1. [default: none]")]
Micro = Annotated[int | None, typer.Option("--micro-ad", help="Number of the AD that has the Micro. [default: 1]")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same names and the same chance. [default: 0]")]


@app.command()
def up(
    *,
    directory: Directory = HERE,
    region: Region = None,
    account: Account = None,
    allowance: Given = None,
    a1_ocpus: Ocpus = None,
    a1_memory_gb: Memory = None,
    a1_absent_ad: Absent = None,
    micro_ad: Micro = None,
    seed: Seed = None,
    mode: Annotated[str | None, typer.Option(help="immediate, seconds or manual. [default: immediate]")] = None,
    rate: Annotated[float | None, typer.Option(help="Virtual seconds per second in mode seconds.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the world that was left here.")] = False,
    idle_hours: Annotated[float, typer.Option(help="End after so many hours without a request.")] = 12.0,
    plain_port: Annotated[int, typer.Option(help="Port for clients with an endpoint option. 0: any.")] = 0,
    proxy_port: Annotated[int, typer.Option(help="Port of the proxy. 0: any.")] = 0,
    as_json: Json = False,
) -> None:
    """Start it in the background. A world that was left here by `down` is taken up again."""
    from ocifree_pipeline.sandbox.process import Options, find, start

    profile = _profile(
        region=region,
        account=account,
        allowance=allowance,
        a1_ocpus=a1_ocpus,
        a1_memory_gb=a1_memory_gb,
        a1_absent_ad=a1_absent_ad,
        micro_ad=micro_ad,
    )
    with told(as_json):
        there = find(directory)
        if there is not None:
            if not as_json:
                say("It runs already; its options stay as they are.")
            _show(there, as_json)
            return
        running = start(
            directory,
            Options(
                profile=profile or None,
                seed=seed,
                mode=mode,
                rate=rate,
                fresh=fresh,
                idle_hours=idle_hours,
                plain_port=plain_port,
                proxy_port=proxy_port,
            ),
        )
        _show(running, as_json)


@app.command()
def down(directory: Directory = HERE, as_json: Json = False) -> None:
    """Stop it. Its world is kept."""
    from ocifree_pipeline.sandbox.process import find

    with told(as_json):
        running = find(directory)
        if running is not None:
            running.stop()
        if as_json:
            say_json({"stopped": running is not None, "directory": str(directory)})
        elif running is None:
            say(f"No sandbox runs in {directory}.")
        else:
            say(f"Stopped; its world is kept in {running.directory}.")


@app.command()
def status(directory: Directory = HERE, as_json: Json = False) -> None:
    """What it is and what it holds."""
    with told(as_json):
        _show(running_in(directory, as_json), as_json)


@app.command()
def notifications(directory: Directory = HERE, as_json: Json = False) -> None:
    """What arrived at the Discord, Slack, ntfy and webhook that it plays."""
    with told(as_json):
        found = running_in(directory, as_json).call("GET", "notifications")
        if as_json:
            say_json(found)
            return
        table(
            ["at", "service", "title", ""],
            [
                [one["at"], one["service"], one["title"], " / ".join(one["text"].split("\n"))]
                for one in found["messages"]
            ],
        )


@app.command()
def reset(
    *,
    directory: Directory = HERE,
    region: Region = None,
    account: Account = None,
    allowance: Given = None,
    a1_ocpus: Ocpus = None,
    a1_memory_gb: Memory = None,
    a1_absent_ad: Absent = None,
    micro_ad: Micro = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Begin anew: an empty tenancy in the same doors, with the same key. What is not said stays as it was."""
    body: dict[str, Any] = {
        "profile": _profile(
            region=region,
            account=account,
            allowance=allowance,
            a1_ocpus=a1_ocpus,
            a1_memory_gb=a1_memory_gb,
            a1_absent_ad=a1_absent_ad,
            micro_ad=micro_ad,
        )
    }
    with told(as_json):
        running = running_in(directory, as_json)
        running.call("POST", "reset", body | ({} if seed is None else {"seed": seed}))
        _show(running, as_json)


@app.command()
def snapshot(
    file: Annotated[Path, typer.Argument(help="The file to write.")], directory: Directory = HERE, as_json: Json = False
) -> None:
    """Save the whole world, objects included, in one file."""
    with told(as_json):
        saved = running_in(directory, as_json).call("POST", "snapshot", {"path": str(file.absolute())})
        if as_json:
            say_json(saved)
        else:
            say(f"{saved['path']}: {saved['bytes']} bytes")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `snapshot` wrote.")],
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Make the world what it was when the snapshot was taken."""
    with told(as_json):
        running = running_in(directory, as_json)
        running.call("POST", "restore", {"path": str(file.absolute())})
        _show(running, as_json)


@app.command()
def env(directory: Directory = HERE, as_json: Json = False) -> None:
    """Print the variables that point any client of a shell at it: eval "$(ocifree sandbox env)"."""
    with told(as_json):
        variables = running_in(directory, as_json).environment()
        if as_json:
            say_json(variables)
            return
        for name, value in variables.items():
            typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def capacity(
    file: Annotated[Path | None, typer.Argument(help="A description as JSON. [default: show what there is]")] = None,
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """When Oracle has room: plenty, a trace of windows, or seeded bursts, with throttling and bans if you want."""
    import json

    with told(as_json):
        running = running_in(directory, as_json)
        if file is not None:
            try:
                description = json.loads(file.read_text())
            except (OSError, ValueError) as error:
                raise typer.BadParameter(f"{file} cannot be read as JSON: {error}") from error
            windows = {"process": "trace", "windows": description} if isinstance(description, list) else description
            running.call("PUT", "capacity", windows)
        found = running.call("GET", "capacity")
        if as_json:
            say_json(found)
            return
        say(f"process {found['process']}")
        if found["windows"]:
            columns = ["ad", "faultDomain", "shape", "from", "to", "ocpus"]
            table(columns, [[window[name] for name in columns] for window in found["windows"]])


@app.command()
def outbox(directory: Directory = HERE, as_json: Json = False) -> None:
    """The mails that Oracle would have sent: budget alerts, reclaimed instances."""
    with told(as_json):
        found = running_in(directory, as_json).call("GET", "outbox")
        if as_json:
            say_json(found)
            return
        rows = [[one["at"], ", ".join(one["to"]), one["subject"]] for one in found["messages"]]
        table(["at", "to", "subject"], rows)


def _profile(
    *,
    region: str | None,
    account: str | None,
    allowance: str | None,
    a1_ocpus: int | None,
    a1_memory_gb: int | None,
    a1_absent_ad: int | None,
    micro_ad: int | None,
) -> dict[str, Any]:
    given = {
        "region": region,
        "account": account,
        "a1_ocpus": a1_ocpus,
        "a1_memory_gb": a1_memory_gb,
        "a1_absent_ad": a1_absent_ad,
        "micro_ad": micro_ad,
    }
    return _allowed(allowance, account) | {name: value for name, value in given.items() if value is not None}


def _allowed(allowance: str | None, account: str | None) -> dict[str, Any]:
    from ocifree_pipeline.sandbox.profiles import Profile, limits_of

    if allowance is None:
        return {}
    try:
        return limits_of(allowance, account or Profile().account)
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0]), param_hint="--allowance") from error


def _show(running: Running, as_json: bool) -> None:
    found = running.call("GET", "status")
    if as_json:
        say_json(found | {"pid": running.pid, "proxy": running.proxy, "endpoint": running.endpoint})
        return
    clock_state = found["clock"]
    say(f"The sandbox runs in {running.directory} (process {running.pid}).", style="green")
    say(f"  proxy     {running.proxy}")
    say(f"  endpoint  {running.endpoint}")
    say(f"  tenancy   {found['tenancy']} ({found['account']}, {found['region']})")
    a1 = found["a1"]
    free = f"{a1['freeOcpuHours']} OCPU hours and {a1['freeMemoryGbHours']} GB hours a month are free"
    say(f"  A1        up to {a1['ocpus']} OCPUs and {a1['memoryGb']} GB; {free}")
    say(f"  time      {clock_state['now']} ({clock_state['mode']}), {len(clock_state['pending'])} changes wait")
    say(f"  requests  {found['requests']}, fault rules {found['faults']}")
    holds = ", ".join(f"{count} {kind}" for kind, count in found["resources"].items())
    say(f"  holds     {holds or 'nothing'}")
    say('Point a shell at it: eval "$(ocifree sandbox env)"')
