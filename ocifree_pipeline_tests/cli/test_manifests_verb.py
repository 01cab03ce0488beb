"""`ocifree manifests`: the platform in a checkout, once."""

from __future__ import annotations

from pathlib import Path

import yaml
from typer.testing import CliRunner

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.deployment.examples import example


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
