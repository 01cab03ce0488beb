"""The folder in which OpenTofu works for one deployment: the module, its variables, where the state lives, the lock."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.deployment.sections.foundation import S3State, State
from ocifree_pipeline.systems.durable import home_of
from ocifree_pipeline.systems.opentofu.adoption import Import
from ocifree_pipeline.systems.secrets.source import resolve
from ocifree_pipeline.systems.secrets.vault import Vault

PASSPHRASE = "opentofu-state-passphrase"  # noqa: S105 - the name of it
SHORTEST_PASSPHRASE = 16
LOCKFILES_SINCE = (1, 10)

_VARIABLES = "spec.auto.tfvars.json"
_BACKEND = "backend.tf.json"
_IMPORTS = "imports.tf.json"
_OURS = frozenset({_BACKEND, _IMPORTS})
_STATE = "terraform.tfstate"

# These would change what is run, or where, behind the back of the declaration; TF_LOG would write bodies of requests.
_NOT_PASSED_ON = ("TF_VAR_", "TF_CLI_ARGS", "TF_LOG", "TF_ENCRYPTION", "TF_WORKSPACE", "TF_DATA_DIR", "OCI_CLI_")
_CREDENTIALS = {
    "tenancy": "OCI_TENANCY_OCID",
    "user": "OCI_USER_OCID",
    "fingerprint": "OCI_FINGERPRINT",
    "region": "OCI_REGION",
    "key_content": "OCI_PRIVATE_KEY",
    "pass_phrase": "OCI_PRIVATE_KEY_PASSWORD",
}
_SECRETS = ("OCI_PRIVATE_KEY", "OCI_PRIVATE_KEY_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True, slots=True)
class Workspace:
    """0700, like everything in it: a state names every resource, encrypted or not."""

    folder: Path
    state: State = field(default_factory=lambda: State(backend="local"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time: the parts of the foundation are assets of their own, and may run side by side."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def state_file(self) -> Path:
        """The state of the local backend."""
        return self.folder / _STATE

    def lay_out(self, module: Path, variables: Mapping[str, Any], version: tuple[int, ...]) -> None:
        """The module as it is now, and nothing of an older one."""
        sources = {path.name: path for path in module.glob("*.tf")}
        for stale in [*self.folder.glob("*.tf"), *self.folder.glob("*.tf.json")]:
            if stale.name not in sources and stale.name not in _OURS:
                stale.unlink()
        for name, source in sources.items():
            shutil.copyfile(source, self.folder / name)
        self._write(_VARIABLES, variables)
        self._write(_BACKEND, {"terraform": {"backend": self._backend(version)}})
        self.take_over(())

    def take_over(self, imports: Sequence[Import]) -> None:
        path = self.folder / _IMPORTS
        if imports:
            self._write(_IMPORTS, {"import": [{"to": one.to, "id": one.id} for one in imports]})
        else:
            path.unlink(missing_ok=True)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            json.dump(content, target, indent=2, sort_keys=True)

    def _backend(self, version: tuple[int, ...]) -> dict[str, Any]:
        store = self.state.s3
        if store is None:
            return {"local": {"path": _STATE}}
        return {"s3": _s3(store, self.folder.name, version)}


def workspace_of(deployment: str, state: State | None, environ: Mapping[str, str] = os.environ) -> Workspace:
    """Beside the history of the deployment."""
    folder = home_of(environ) / "tofu" / deployment
    return Workspace(folder, state or State(backend="local"))


def module_folder() -> Path:
    """The shipped module: inside the package when installed, beside it in a checkout."""
    package = Path(str(files("ocifree_pipeline")))
    for candidate in (package / "tofu" / "oci", package.parent / "tofu" / "oci"):
        if (candidate / "versions.tf").exists():
            return candidate
    raise PreconditionMissing(
        "the module tofu/oci is missing from this installation",
        why="`foundation.engine: opentofu` runs it",
        fix="install ocifree again",
    )


def passphrase_of(workspace: Workspace, vault: Vault, environ: Mapping[str, str] = os.environ) -> SecretStr:
    """What the state is encrypted with: the declared one, else one that is made once and kept in the vault."""
    declared = workspace.state.passphrase
    if declared is not None:
        secret = resolve(declared, vault, environ)
        if len(secret.get_secret_value()) < SHORTEST_PASSPHRASE:
            raise PreconditionMissing(
                f"the passphrase of {declared} is shorter than {SHORTEST_PASSPHRASE} characters",
                why="OpenTofu takes no shorter one",
                fix="make one with `openssl rand -base64 33` and put it there",
            )
        return secret
    if PASSPHRASE in vault.names():
        return vault.get(PASSPHRASE)
    if workspace.state_file.exists():
        raise PreconditionMissing(
            f"the vault has no {PASSPHRASE}, and there is a state that was encrypted with it",
            why=f"{vault.file} was replaced or lost",
            fix=f"put the vault back from your backup; if it is lost, move {workspace.state_file} away: everything is "
            "found again by its tags",
        )
    made = SecretStr(secrets.token_urlsafe(48))
    vault.put({PASSPHRASE: made})
    return made


def environment(
    credentials: Mapping[str, Any],
    workspace: Workspace,
    passphrase: SecretStr,
    vault: Vault,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """What tofu and the provider are started with. Every secret travels here, and nowhere else."""
    own = set(_CREDENTIALS.values()) | {"OCI_PRIVATE_KEY_PATH", "OCI_CONFIG_FILE_PROFILE"}
    passed = {name: value for name, value in environ.items() if name not in own and not name.startswith(_NOT_PASSED_ON)}
    given = {variable: str(credentials[key]) for key, variable in _CREDENTIALS.items() if credentials.get(key)}
    if credentials.get("key_file"):
        given["OCI_PRIVATE_KEY_PATH"] = str(Path(credentials["key_file"]).expanduser())
        given.pop("OCI_PRIVATE_KEY", None)
    authority = environ.get("REQUESTS_CA_BUNDLE")
    if authority:  # the name that the rest of the pipeline knows it by means nothing to Go and to the provider
        given["OCI_custom_cert_location"] = authority
        given["SSL_CERT_FILE"] = environ.get("SSL_CERT_FILE", authority)
    store = workspace.state.s3
    if store is not None:
        given["AWS_ACCESS_KEY_ID"] = resolve(store.access_key, vault, environ).get_secret_value()
        given["AWS_SECRET_ACCESS_KEY"] = resolve(store.secret_key, vault, environ).get_secret_value()
    return {
        **passed,
        **given,
        "OCI_AUTH": "ApiKey",
        "TF_ENCRYPTION": _encryption(passphrase),
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
    }


def _encryption(passphrase: SecretStr) -> str:
    """State and plans, never in the clear: OpenTofu refuses to read or to write one that is.

    In OpenTofu's own syntax: how references are to be written in JSON differs between its versions.
    """
    return f"""
key_provider "pbkdf2" "ocifree" {{
  passphrase = "{_quoted(passphrase.get_secret_value())}"
}}
method "aes_gcm" "ocifree" {{
  keys = key_provider.pbkdf2.ocifree
}}
state {{
  method   = method.aes_gcm.ocifree
  enforced = true
}}
plan {{
  method   = method.aes_gcm.ocifree
  enforced = true
}}
"""


def _quoted(text: str) -> str:
    """As it stands between quotes, where `${` and `%{` would be expressions."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "$${").replace("%{", "%%{")
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped)


def secrets_in(environ: Mapping[str, str], passphrase: SecretStr) -> tuple[str, ...]:
    """Every secret of `environment`, in each way it may be spelled when a program shows what it was given."""
    found = [environ[name] for name in _SECRETS if environ.get(name)] + [passphrase.get_secret_value()]
    spelled = {way for secret in found for way in (secret, json.dumps(secret)[1:-1], _quoted(secret))}
    return tuple(sorted(spelled, key=len, reverse=True))


def _s3(store: S3State, deployment: str, version: tuple[int, ...]) -> dict[str, Any]:
    """Any store that speaks S3, Oracle's own among them, which knows neither Amazon's checks nor its checksums."""
    return {
        "bucket": store.bucket,
        "key": f"ocifree/{deployment}.tfstate",
        "region": store.region,
        "endpoints": {"s3": str(store.endpoint)},
        "use_path_style": True,
        "skip_region_validation": True,
        "skip_credentials_validation": True,
        "skip_requesting_account_id": True,
        "skip_metadata_api_check": True,
        "skip_s3_checksum": True,
        **({"use_lockfile": True} if version >= LOCKFILES_SINCE else {}),
    }
