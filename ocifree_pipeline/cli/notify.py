"""ocifree notify test: does a message arrive, at each of those who are to be told."""

from __future__ import annotations

from pathlib import Path

import typer

from ocifree_pipeline.cli.declared import declaration_of
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import refuse, say, say_json, table
from ocifree_pipeline.deployment.notices import Event, Notice


def test_targets(path: Path | None, as_json: bool) -> None:
    """Exit 0 when everybody was told, 1 when somebody was not, 6 when nobody is named."""
    declaration = declaration_of(path, None, as_json)
    if not declaration.notify:
        fix = "write `notify: [env:NOTIFY_URL]` into the declaration"
        raise refuse("nobody is to be told", fix, Exit.NOT_READY, as_json=as_json)
    ensure_home()
    from ocifree_pipeline.systems.notify.rendering import render
    from ocifree_pipeline.systems.notify.sending import targets_of, tell
    from ocifree_pipeline.systems.secrets.vault import vault_of

    message = render(Notice(event=Event.TEST, about="test"), declaration.name)
    told = tell(targets_of(declaration.notify), vault_of(declaration.name), message, Event.TEST)
    if as_json:
        say_json(
            [
                {
                    "target": one.target,
                    "told": one.error is None,
                    "service": one.service or None,
                    "error": {"what": one.error.what, "why": one.error.why, "fix": one.error.fix}
                    if one.error
                    else None,
                }
                for one in told
            ]
        )
    else:
        table(
            ["target", "", ""],
            [[one.target, "bad" if one.error else "ok", one.error.what if one.error else one.service] for one in told],
        )
        for one in told:
            if one.error is not None:
                say()
                say(str(one.error), style="red")
    raise typer.Exit(Exit.FAILED if any(one.error for one in told) else Exit.OK)
