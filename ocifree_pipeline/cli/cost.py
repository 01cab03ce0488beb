"""ocifree cost: what Oracle charged, day by day, and since when zero is proved. Changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, say, say_json, table
from ocifree_pipeline.deployment.cost import Bill, State, console_page, money
from ocifree_pipeline.deployment.errors import OcifreeError

_MARKS = {State.ZERO: "ok", State.CHARGED: "bad", State.UNKNOWN: "bad", State.OPEN: "idle"}


def show_cost(path: Path | None, as_json: bool) -> None:
    blueprint = blueprint_for(path, json_wanted=as_json)
    export_declaration(path)
    from ocifree_pipeline.systems.oci.session import session_for
    from ocifree_pipeline.systems.oci.usage import read_bill

    try:
        bill = read_bill(session_for(blueprint.declaration.site), datetime.now(UTC), _first_day())
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json(_as_dict(bill))
    else:
        _show(blueprint.declaration.name, bill)
    raise typer.Exit(Exit.OK if bill.is_zero else Exit.FAILED)


def _first_day() -> date | None:
    ensure_home()
    import dagster as dg

    from ocifree_pipeline.record.assurance import first_day

    with dg.DagsterInstance.get() as instance:
        return first_day(instance)


def _show(name: str, bill: Bill) -> None:
    say(f"{name}: {bill.summary()}", style="bold" if bill.is_zero else "bold red")
    say()
    table(
        ["day (UTC)", "cost", "state"],
        [[str(day.day), money(day.amount, bill.currency), (_MARKS[day.state], day.state)] for day in bill.days],
    )
    for line in (*bill.charged, *bill.unknown):
        say()
        say(str(line), style="red")
        say(f"  look at it: {console_page(line.resource, line.region)}")


def _as_dict(bill: Bill) -> dict[str, object]:
    """Amounts as text: they are decimals, and a fraction of a cent must survive."""
    return {
        "zero": bill.is_zero,
        "currency": bill.currency,
        "total": str(bill.total),
        "days_proven_at_zero": bill.proven,
        "days_still_open": bill.pending,
        "days": [asdict(day) for day in bill.days],
        "charged": [asdict(line) for line in bill.charged],
        "unknown": [asdict(line) for line in bill.unknown],
    }
