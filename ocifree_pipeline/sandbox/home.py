"""The sandbox's directory: what survives a stop, and what clients on this machine are pointed at.

ca/            the certificate authority (keys 0600)
owner.pem      the API key of the tenancy's administrator (0600)
oci.config     the OCI configuration that names it (0600)
world/         bytes of objects
world.json     the state of a sandbox that was stopped
ready.json     ports, process and control token of a sandbox that runs (0600)
sandbox.log    what the process had to say
"""

import json
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.sandbox import private_files, profiles
from ocifree_pipeline.sandbox.oracle.signatures import fingerprint
from ocifree_pipeline.sandbox.world import World

FORMAT = 1
KEY_LABEL = "OCI_API_KEY\n"
"""The OCI CLI wants this line below a key that is no one's password."""


@dataclass(frozen=True, slots=True)
class Home:
    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca"

    @property
    def ca_file(self) -> Path:
        return self.ca / "ca.pem"

    @property
    def key_file(self) -> Path:
        return self.directory / "owner.pem"

    @property
    def config_file(self) -> Path:
        return self.directory / "oci.config"

    @property
    def cli_rc_file(self) -> Path:
        return self.directory / "oci_cli_rc"

    @property
    def world_directory(self) -> Path:
        return self.directory / "world"

    @property
    def state_file(self) -> Path:
        return self.directory / "world.json"

    @property
    def ready_file(self) -> Path:
        return self.directory / "ready.json"

    @property
    def lock_file(self) -> Path:
        return self.directory / "lock"

    @property
    def log_file(self) -> Path:
        return self.directory / "sandbox.log"

    def make(self) -> "Home":
        private_files.make_directory(self.directory)
        return self

    # the world --------------------------------------------------------------------------------------------------

    def furnish(self, world: World, profile: profiles.Profile) -> None:
        """Put a tenancy into an empty world and point the client configuration at it."""
        shutil.rmtree(self.world_directory, ignore_errors=True)
        self.world_directory.mkdir(parents=True)
        profiles.seed(world, profile, self._public_key())
        world.facts["profile"] = asdict(profile)
        self._write_config(world)

    def renew(self, world: World, changes: dict[str, Any], seed: int | None = None) -> None:
        """Forget everything in ``world`` and furnish it anew: as it began, with ``changes`` to its profile."""
        profile = profile_from(world.facts.get("profile", {}) | changes)
        fresh = World(self.world_directory, seed=world.seed if seed is None else seed)
        fresh.clock.set_mode(world.clock.mode, world.clock.rate)
        self.furnish(fresh, profile)
        world.load_json(fresh.to_json())

    def adopt(self, world: World) -> None:
        """Let this directory's key speak in a world that may come from another one."""
        user, public = world.profile["user"], self._public_key()
        if public not in world.keys.values():
            profiles.register_key(world, user, public)
        self._write_config(world)

    def save(self, world: World) -> None:
        state = json.dumps({"format": FORMAT, "world": world.to_json()})
        private_files.write(self.state_file, state.encode())

    def load(self, world: World) -> bool:
        """Take up the state that an earlier process left; False when there is none."""
        if not self.state_file.exists():
            return False
        try:
            state = json.loads(self.state_file.read_text())
            if state["format"] != FORMAT:
                raise ValueError(f"it has format {state['format']}, this version reads {FORMAT}")
            world.load_json(state["world"])
        except (ValueError, KeyError, TypeError) as error:
            raise PreconditionMissing(
                f"the saved world {self.state_file} cannot be taken up",
                why=str(error),
                fix="ocifree sandbox up --fresh begins a new world",
            ) from error
        self.world_directory.mkdir(parents=True, exist_ok=True)
        self.adopt(world)
        return True

    def forget(self) -> None:
        """Drop the saved state; keys and CA stay, so that clients need no new configuration."""
        self.state_file.unlink(missing_ok=True)

    # the client's side ------------------------------------------------------------------------------------------

    def _public_key(self) -> str:
        if not self.key_file.exists():
            keys = profiles.make_key_pair()
            private_files.write(self.key_file, (keys.private_pem + KEY_LABEL).encode())
        try:
            return _public_half(self.key_file.read_bytes())
        except ValueError as error:
            raise PreconditionMissing(
                f"{self.key_file} cannot be read as a private key",
                why="something else than the sandbox wrote it",
                fix=f"rm {self.key_file}, and the sandbox makes a new one",
            ) from error

    def _write_config(self, world: World) -> None:
        public = self._public_key()
        lines = {
            "user": world.profile["user"],
            "fingerprint": fingerprint(public),
            "tenancy": world.tenancy,
            "region": world.home_region,
            "key_file": str(self.key_file.absolute()),
        }
        text = "\n".join(["[DEFAULT]", *(f"{name}={value}" for name, value in lines.items())]) + "\n"
        private_files.write(self.config_file, text.encode())
        private_files.write(self.cli_rc_file, b"")


@lru_cache(maxsize=4)
def _public_half(pem: bytes) -> str:
    """Remembered, as proving an RSA key sound takes as long as a whole snapshot does."""
    public = serialization.load_pem_private_key(pem, None).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def profile_from(fields: dict[str, Any]) -> profiles.Profile:
    """A profile from its JSON form. ValueError names what is wrong."""
    known = profiles.Profile.__dataclass_fields__
    unknown = fields.keys() - known.keys()
    if unknown:
        raise ValueError(f"a profile has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    defaults = asdict(profiles.Profile())
    for name, value in fields.items():
        if type(value) is not type(defaults[name]):
            raise ValueError(f"{name} must be {type(defaults[name]).__name__}, not {value!r}")
    if fields.get("account", "free") not in {"free", "payg"}:
        raise ValueError(f"account must be free or payg, not {fields['account']!r}")
    return profiles.Profile(**fields)
