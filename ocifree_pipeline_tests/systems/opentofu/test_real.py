"""A real program, without a provider: its stream, its documents, its refusals and its imports are as we read them.

OpenTofu if it is here; else Terraform, which says the same (but could not seal the state, so production refuses it).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import Conflict, NotFree, OcifreeError
from ocifree_pipeline.deployment.pricing import require_free
from ocifree_pipeline.systems.opentofu.adoption import Import
from ocifree_pipeline.systems.opentofu.messages import Listener
from ocifree_pipeline.systems.opentofu.planned import Planned, planned_of
from ocifree_pipeline.systems.opentofu.program import Program, run
from ocifree_pipeline.systems.opentofu.tofu import Tofu
from ocifree_pipeline.systems.opentofu.workspace import Workspace, environment, secrets_in
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline_tests.systems.opentofu.conftest import CREDENTIALS

pytestmark = pytest.mark.real("OpenTofu")

MODULE = """
variable "names" {
  type = map(string)
}

resource "terraform_data" "kept" {
  for_each = var.names
  input    = each.value

  lifecycle {
    prevent_destroy = true
  }
}

resource "terraform_data" "loose" {
  count            = length(var.names)
  triggers_replace = length(var.names)
}

output "network" {
  description = "As the outputs of tofu/oci are."
  value       = { for key, one in terraform_data.kept : "group/${key}" => { id = one.id, name = key, attributes = {} } }
}
"""


class Site:
    def __init__(self, folder: Path, path: str) -> None:
        self.module, self.said = folder / "module", list[str]()
        self.module.mkdir()
        (self.module / "main.tf").write_text(MODULE, "utf-8")
        self.workspace = Workspace(folder / "work")
        passphrase = SecretStr('a "passphrase" with \\ and ${more} in it')
        vault = Vault(folder / "vault.age", folder / "identity.txt")
        given = environment(CREDENTIALS, self.workspace, passphrase, vault, {"PATH": os.environ["PATH"]})
        self.seals = Path(path).name == "tofu"
        self.tofu = Tofu(
            Program(path, (1, 12, 0)), self.workspace, given, secrets_in(given, passphrase), self.said.append, 120, 10
        )

    def plan(self, *imports: Import, **names: str) -> tuple[str, Planned]:
        self.workspace.lay_out(self.module, {"names": names}, (1, 12, 0))
        self.workspace.take_over(imports)
        self.tofu.read("prepare", "init", "-input=false", "-no-color", "-reconfigure")
        file = f"{uuid.uuid4().hex}.plan"
        self.tofu.hear("plan", "plan", "-json", "-input=false", "-lock-timeout=600s", f"-out={file}")
        return file, planned_of(json.loads(self.tofu.read("read the plan", "show", "-json", file)))

    def apply(self, *imports: Import, **names: str) -> None:
        file, _ = self.plan(*imports, **names)
        self.tofu.hear("apply", "apply", "-json", "-input=false", "-lock-timeout=600s", file)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    path = shutil.which(os.environ.get("TOFU", "tofu")) or shutil.which("terraform")
    if path is None:
        pytest.skip("neither tofu nor terraform is on the PATH")
    site = Site(tmp_path, path)
    site.workspace.folder.mkdir(mode=0o700)
    return site


def test_from_nothing_to_a_plan_that_is_empty(site: Site) -> None:
    file, planned = site.plan(ssh="1")
    assert planned.lines == (
        "create terraform data ssh",
        "create terraform data terraform_data.loose[0]",
    )
    assert planned.found == {}
    with pytest.raises(NotFree, match="2 reasons"):
        require_free(planned.items, {})
    site.tofu.hear("apply", "apply", "-json", "-input=false", file)
    assert 'make terraform_data.kept["ssh"]' in site.said
    assert 'make terraform_data.kept["ssh"]: done in 0 s' in site.said
    _, again = site.plan(ssh="1")
    assert again.is_noop
    assert re.fullmatch(r"[0-9a-f-]{36}", again.found["group/ssh"].id)
    assert ("encrypted_data" in site.workspace.state_file.read_text("utf-8")) == site.seals


def test_what_it_refuses_to_destroy_is_ours_to_refuse(site: Site) -> None:
    site.apply(ssh="1", web="2")
    with pytest.raises(CannotChange) as caught:
        site.plan(ssh="1")
    assert "cannot be destroyed" in caught.value.what


def test_a_replacement_is_seen(site: Site) -> None:
    site.apply(ssh="1")
    _, planned = site.plan(ssh="1", web="2")
    assert planned.lost == ("terraform_data.loose[0]",)
    assert "delete terraform data terraform_data.loose[0] and make it anew" in planned.lines
    with pytest.raises(CannotChange):
        planned.require_nothing_lost()


def test_an_import_is_a_take_over(site: Site) -> None:
    key = "ssh: tcp 22 from 0.0.0.0/0"
    adopted = Import(f'terraform_data.kept["{key}"]', "11111111-2222-3333-4444-555555555555")
    _, planned = site.plan(adopted, **{key: "1"})
    assert planned.lines[0].startswith(f"take over terraform data {key}; input: nothing -> 1")
    site.apply(adopted, **{key: "1"})
    _, again = site.plan(**{key: "1"})
    assert again.is_noop
    assert again.found[f"group/{key}"].id == adopted.id


def test_a_state_that_another_run_holds_is_a_told_error(site: Site) -> None:
    site.apply(ssh="1")
    holder = f"""
import fcntl, time
with open({str(site.workspace.state_file)!r}, "r+") as state:
    fcntl.lockf(state, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(Conflict, match="state lock"):
                site.tofu.hear("plan", "plan", "-json", "-input=false", "-lock-timeout=0s")
        finally:
            other.kill()


def test_a_configuration_that_is_wrong_is_told_by_its_diagnostic(site: Site) -> None:
    (site.module / "main.tf").write_text('output "x" {\n  value = local.nowhere\n}\n', "utf-8")
    with pytest.raises(OcifreeError, match="undeclared local value"):
        site.plan()


def test_every_line_of_a_real_stream_is_understood(site: Site) -> None:
    site.plan(ssh="1")
    listener, lines = Listener(lambda line: None), list[str]()

    def hear(line: str) -> None:
        lines.append(line)
        listener.hear(line)

    run(
        [site.tofu.program.path, "apply", "-json", "-auto-approve", "-input=false"],
        folder=site.workspace.folder,
        environ=site.tofu.environ,
        hear=hear,
    )
    assert len(lines) > 3
    assert (listener.noise, listener.errors) == ([], [])
