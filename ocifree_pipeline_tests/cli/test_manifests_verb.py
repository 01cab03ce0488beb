"""`ocifree manifests`: the platform in a checkout, once."""

from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.deployment.examples import example

ROOT = Path(__file__).parents[2]


def test_written_once_and_without_secrets(tmp_path: Path) -> None:
    declaration = tmp_path / "deployment.yaml"
    declaration.write_text(example("talos-native"))
    command = ["manifests", str(tmp_path / "repo"), "--deployment", str(declaration)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "write gateway/gateway-gateway-public.yaml" in first.output
    assert "kubernetes.flux.delivers" in first.output
    files = sorted((tmp_path / "repo").rglob("*.yaml"))
    kinds = {yaml.safe_load(file.read_text())["kind"] for file in files}
    assert {"Gateway", "HTTPRoute", "Deployment", "Namespace"} <= kinds
    assert "Secret" not in kinds
    again = CliRunner().invoke(app, [*command, "--json"])
    assert again.output.strip() == "[]"


def test_ocifree_itself_for_the_cluster_that_it_built(tmp_path: Path) -> None:
    """Dagster's settings there are the shipped ones, but for where runs, records and logs are."""
    declaration = tmp_path / "deployment.yaml"
    declaration.write_text(example("talos-native"))
    words = ["--dagster", "registry.example.org/ocifree:1.2.3", "--database", "db.example.org"]
    done = CliRunner().invoke(
        app, ["manifests", str(tmp_path / "repo"), "--deployment", str(declaration), *words], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    made = [yaml.safe_load(file.read_text()) for file in sorted((tmp_path / "repo" / "dagster").glob("*.yaml"))]
    maps = {one["metadata"]["name"]: one["data"] for one in made if one["kind"] == "ConfigMap"}
    assert maps["deployment"]["deployment.yaml"] == declaration.read_text()
    there, here = yaml.safe_load(maps["instance"]["dagster.yaml"]), yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert there["storage"]["postgres"]["postgres_db"]["hostname"] == "db.example.org"
    elsewhere = {"storage", "run_launcher", "compute_logs"}
    assert {**there["run_monitoring"], "start_timeout_seconds": 0} == {
        **here["run_monitoring"],
        "start_timeout_seconds": 0,
    }
    for name in there.keys() - elsewhere - {"run_monitoring"}:
        assert there[name] == here[name], name
    assert there.keys() - elsewhere == here.keys()
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in made} == {"ocifree-lab"}
