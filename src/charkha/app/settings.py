"""Settings: one TOML file, over it the environment, over that the options of a command.

Owns the boundary to the operator's configuration. The file is `$CHARKHA_HOME/charkha.toml`, or what CHARKHA_CONFIG
names. Every key `a.b` is also `CHARKHA_A__B`. What is wrong is told by key, with what to do; values are never told,
since they may be secrets.
"""

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from charkha.core.errors import Misconfigured

PREFIX = "CHARKHA_"
FILE_NAME = "charkha.toml"


def default_home() -> Path:
    """$CHARKHA_HOME, or where the system keeps such data."""
    if chosen := os.environ.get(f"{PREFIX}HOME"):
        return Path(chosen).expanduser().absolute()
    return conventional_home()


def conventional_home() -> Path:
    """Where the system keeps such data: for root below /var/lib, else the XDG data directory."""
    if os.geteuid() == 0:
        return Path("/var/lib/charkha/home")
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "charkha"


def config_path() -> Path:
    """The file that is read if it is there; one that CHARKHA_CONFIG names has to be."""
    chosen = os.environ.get(f"{PREFIX}CONFIG")
    return Path(chosen).expanduser().absolute() if chosen else default_home() / FILE_NAME


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Section(BaseModel):
    """A table of the file. Unknown keys are refused, so that a misspelt one cannot pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Engine(BaseModel):
    """One source of answers: a plugin and its own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    plugin: str = Field(description="the engine plugin, for instance llama_cpp or openai")

    @property
    def options(self) -> dict[str, Any]:
        """What the plugin's own Config validates."""
        return dict(self.model_extra or {})


class Limits(Section):
    """What one request may cost."""

    max_body_bytes: int = Field(8 * 2**20, ge=1024, le=2**30, description="largest request body, in bytes")
    request_seconds: float = Field(120.0, gt=0, le=3600, description="longest time for one request, in seconds")
    max_in_flight: int = Field(
        256, ge=1, le=65_536, description="requests that one gateway process answers at once; more are refused"
    )


class Caches(Section):
    """How much of their answers gateways keep, to give them again."""

    max_bytes: int = Field(
        64 * 2**20, ge=0, le=2**40, description="most bytes of answers in a gateway process; 0: none"
    )
    workspace_bytes: int = Field(16 * 2**20, ge=0, le=2**40, description="most bytes of answers of one workspace there")

    @property
    def bytes(self) -> tuple[int, int]:
        """Both."""
        return self.max_bytes, self.workspace_bytes


class Training(Section):
    """How a recipe shares the machine with the traffic."""

    threads: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)), ge=1, le=1024, description="threads of a training run"
    )
    nice: int = Field(10, ge=0, le=19, description="niceness of a training run (19 yields most)")


class Rollout(Section):
    """What a release does unless it is told otherwise."""

    steps: tuple[int, ...] = Field((1, 10, 50, 100), description="shares of the traffic that a candidate gets, in %")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="chance of a wrong verdict that a rollout may take")
    minimum: int = Field(3, ge=1, description="fewest scored answers of a candidate before it can be called better")
    patience: float = Field(
        60, ge=0, description="seconds that a first step may be expected to take, or else it is left out; 0: none is"
    )

    @field_validator("steps")
    @classmethod
    def _rise_to_all(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or steps[-1] != 100 or list(steps) != sorted({*steps}) or steps[0] < 1:
            raise PydanticCustomError("steps", "must rise from at least 1 to 100, as in [1, 10, 50, 100]")
        return steps


class Retention(Section):
    """How long what was recorded is kept."""

    job_days: int = Field(14, ge=1, description="days that finished jobs are kept")


class Settings(BaseSettings):
    """Everything an operator may choose. Made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(default_factory=default_home, description="the directory of everything that Charkha keeps")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8420, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    database_url: str | None = Field(
        None, repr=False, description="a PostgreSQL of your own, login charkha; embedded when absent"
    )
    migration_url: str | None = Field(None, repr=False, description="the same database, login charkha_owner")
    behind_proxy: bool = Field(False, description="a proxy in front of Charkha ends TLS")
    tls_cert: Path | None = Field(None, description="file of the certificate chain (PEM)")
    tls_key: Path | None = Field(None, description="file of its private key (PEM)")
    allowed_hosts: Words = Field((), description="host names that clients may use, besides the loopback ones")
    allowed_engine_hosts: Words = Field(
        (), description="hosts on private networks, or without TLS, that engines added over the API may be on"
    )
    api_processes: int = Field(1, ge=1, le=256, description="gateway processes")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity that is logged")
    log_json: bool | None = Field(None, description="logs as JSON lines; by default unless stderr is a terminal")
    engines: dict[str, Engine] = Field(
        default_factory=lambda: {"local": Engine(plugin="llama_cpp")},
        repr=False,
        description="where answers come from, by name",
    )
    limits: Limits = Limits()
    caches: Caches = Caches()
    training: Training = Field(default_factory=Training)
    rollout: Rollout = Rollout()
    retention: Retention = Retention()
    _options: frozenset[str] = PrivateAttr(frozenset())

    @property
    def options(self) -> frozenset[str]:
        """The keys that a command was given, which win over the environment and the file."""
        return self._options

    @property
    def embedded_database(self) -> bool:
        """Whether Charkha runs its own PostgreSQL."""
        return self.database_url is None

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @field_validator("database_url", "migration_url")
    @classmethod
    def _postgresql(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("postgresql://", "postgres://")):
            raise PydanticCustomError("url", "must begin with postgresql://")
        return url

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not os.access(path, os.R_OK):
            raise PydanticCustomError("file", "names a file that cannot be read")
        return path

    @model_validator(mode="after")
    def _whole(self) -> "Settings":
        if self.migration_url and not self.database_url:
            raise PydanticCustomError("alone", "migration_url is set, but database_url is not: set both or neither")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise PydanticCustomError("alone", "tls_cert and tls_key go together: set both or neither")
        if not (_is_loopback(self.host) or self.tls_cert or self.behind_proxy):
            raise PydanticCustomError(
                "open",
                "host is not a loopback address, so keys would cross the network in the clear: set tls_cert and "
                "tls_key, or behind_proxy = true if a proxy in front ends TLS, or host = '127.0.0.1'",
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options, then the environment, then the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, read_file())


def load(**options: Any) -> Settings:
    """The settings in force. `options` are those of a command; None means not given. Raises Misconfigured."""
    try:
        given = {key: value for key, value in options.items() if value is not None}
        made = Settings(**given)
        made._options = frozenset(given)
        return made
    except ValidationError as error:
        problems = [_problem(detail["loc"], detail["msg"], detail["type"]) for detail in error.errors()]
        raise _misconfigured("; ".join(problems), _key(error.errors()[0]["loc"])) from None
    except SettingsError as error:
        raise _misconfigured(f"{error} (it takes JSON)", None) from None


def read_file() -> dict[str, Any]:
    """The settings file as it stands; empty when there is none and none was named."""
    path = config_path()
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        if f"{PREFIX}CONFIG" not in os.environ:
            return {}
        problem = "does not exist"
    except PermissionError:
        problem = "cannot be read by this user"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problem = f"is not TOML: {error}"
    raise Misconfigured(f"The settings file {path} {problem}.", remedy="Mend it, or set CHARKHA_CONFIG to another.")


def environment_name(key: str) -> str:
    """The variable for a key: `limits.max_body_bytes` → CHARKHA_LIMITS__MAX_BODY_BYTES."""
    return PREFIX + key.replace(".", "__").upper()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _problem(location: tuple[int | str, ...], message: str, kind: str) -> str:
    key = _key(location)
    if kind != "extra_forbidden":
        return f"{key} {message[:1].lower()}{message[1:]}" if key else message
    owner = Settings if len(location) == 1 else Settings.model_fields[str(location[0])].annotation
    near = difflib.get_close_matches(str(location[-1]), getattr(owner, "model_fields", {}), n=1)
    return f"{key} is not a setting" + (f" (did you mean {near[0]}?)" if near else "")


def _misconfigured(problem: str, key: str | None) -> Misconfigured:
    where = f"in {config_path()}" + (f" or by {environment_name(key)}" if key else " or by its variable")
    return Misconfigured(f"Settings: {problem}.", remedy=f"Change it {where}; see charkha config.", param=key or None)
