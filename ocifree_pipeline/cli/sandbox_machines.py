"""ocifree sandbox machine, link: the hand that pulls plugs, cuts cables and sets clocks wrong."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ocifree_pipeline.cli.output import say, say_json, table
from ocifree_pipeline.cli.sandbox_running import HERE, Directory, Json, running_in, told

machine = typer.Typer(help="Look at the machines, pull their plugs, set their clocks wrong.", no_args_is_help=True)
link = typer.Typer(help="Cut and mend the links between machines.", no_args_is_help=True)
Machine = Annotated[str, typer.Argument(help="Its address or host name.")]
Traffic = Annotated[str, typer.Option(help="What no longer gets through: all, or corosync.")]


@machine.command("list")
def list_machines(directory: Directory = HERE, as_json: Json = False) -> None:
    """Every machine and guest: its power, its addresses, its clock."""
    with told(as_json):
        _show_machines(running_in(directory, as_json).call("GET", "machines"), as_json)


@machine.command("power")
def set_power(
    name: Machine,
    state: Annotated[str, typer.Argument(help="on, off or reboot.")],
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Pull the plug, or put it back. Oracle goes on to say RUNNING."""
    with told(as_json):
        _show_machines(
            running_in(directory, as_json).call("PUT", "machines", {"machine": name, "power": state}), as_json
        )


@machine.command("clock")
def set_clock(
    name: Machine,
    ahead: Annotated[float, typer.Option(help="Seconds ahead of the truth; 0 is right again.")],
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """Set the clock of one machine wrong."""
    with told(as_json):
        _show_machines(
            running_in(directory, as_json).call("PUT", "machines", {"machine": name, "clockSkew": ahead}), as_json
        )


@machine.command("offer")
def offer_package(
    package: Annotated[str, typer.Argument(help="Its name, such as pve-manager.")],
    version: Annotated[str, typer.Argument(help="The newer version, such as 9.2.12.")],
    directory: Directory = HERE,
    as_json: Json = False,
) -> None:
    """The archives put out a newer version of a package; machines see it at their next `apt-get update`."""
    with told(as_json):
        found = running_in(directory, as_json).call("PUT", "packages", {package: version})["published"]
        if as_json:
            say_json({"published": found})
        else:
            table(["package", "version"], [[name, found[name]] for name in sorted(found)])


@link.command("list")
def list_links(directory: Directory = HERE, as_json: Json = False) -> None:
    """The links that are cut."""
    with told(as_json):
        _show_links(running_in(directory, as_json).call("GET", "links"), as_json)


@link.command("cut")
def cut_link(
    one: Machine, other: Machine, traffic: Traffic = "all", directory: Directory = HERE, as_json: Json = False
) -> None:
    """Two machines hear nothing of each other any more."""
    body = {"between": [one, other], "cut": True, "traffic": traffic}
    with told(as_json):
        _show_links(running_in(directory, as_json).call("PUT", "links", body), as_json)


@link.command("mend")
def mend_link(one: Machine, other: Machine, directory: Directory = HERE, as_json: Json = False) -> None:
    """Everything between two machines gets through again."""
    with told(as_json):
        _show_links(
            running_in(directory, as_json).call("PUT", "links", {"between": [one, other], "cut": False}), as_json
        )


def _show_machines(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    rows = [
        [
            one["name"],
            ", ".join(one["addresses"]),
            one["phase"],
            one["boots"],
            f"{one['clockSkew']:+g} s",
            one["reason"],
        ]
        for one in found["machines"]
    ]
    table(["machine", "addresses", "phase", "boots", "clock", "why"], rows)


def _show_links(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(found)
    elif found["cut"]:
        table(["cut between", "traffic"], [[" and ".join(one["between"]), one["traffic"]] for one in found["cut"]])
    else:
        say("Every link is whole.")
