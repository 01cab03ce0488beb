"""A history belongs to the deployment that made something in it first."""

from __future__ import annotations

import stat
from pathlib import Path

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.errors import Conflict
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.definition import define_asset
from ocifree_pipeline.record.history import MARK, require_own_history
from ocifree_pipeline.record.outcome import Facts, Outcome


def test_the_first_owns_it_and_another_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    require_own_history("lab", home)
    require_own_history("lab", home)
    assert stat.S_IMODE((home / MARK).stat().st_mode) == 0o600
    with pytest.raises(Conflict, match="this history belongs to the deployment lab"):
        require_own_history("shop", home)
    (home / MARK).unlink()
    require_own_history("shop", home)


def test_no_asset_of_another_deployment_is_made_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    made: list[str] = []

    def make(name: str) -> bool:
        blueprint = blueprint_of(parse(yaml.safe_dump(yaml.safe_load(example("talos-native")) | {"name": name})))

        def body(_step: object) -> Outcome:
            made.append(name)
            return Outcome("made", Facts())

        asset = define_asset(blueprint, "oci/network", body, group="g", kinds=(), describe="A network.")
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize([asset], instance=instance, raise_on_error=False).success

    assert (make("lab"), make("lab"), make("shop")) == (True, True, False)
    assert made == ["lab", "lab"]
