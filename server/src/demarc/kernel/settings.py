"""What the environment may say to Demarc; `demarc doctor` explains each value."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from demarc.kernel.errors import Misconfigured


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class Settings(BaseSettings):
    """Validated once per process. Names in the environment: `DEMARC_<FIELD>`; the database is `DATABASE_URL`."""

    model_config = SettingsConfigDict(
        env_prefix="DEMARC_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    data_dir: Path = Field(
        Path(".demarc"), description="database, keys, spool, logs and generated configuration"
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="owner connection to an existing PostgreSQL >= 15; unset: a private cluster in the data directory",
    )
    postgres_port: int = Field(
        0, ge=0, le=65535, description="loopback port of the private cluster; 0: unix socket only"
    )

    http_host: IPv4Address | IPv6Address = Field(
        IPv4Address("127.0.0.1"), description="address the API listens on"
    )
    http_port: int = Field(8000, ge=1, le=65535, description="port the API listens on")
    http_workers: int = Field(1, ge=1, le=64, description="API processes")

    staff_requests_per_minute: int = Field(
        6000, ge=1, le=10**9, description="requests a minute that each API process takes from one user"
    )

    radius_enabled: bool = Field(True, description="run FreeRADIUS, the ingester and CoA")
    radius_host: IPv4Address = Field(IPv4Address("127.0.0.1"), description="address FreeRADIUS listens on")
    radius_auth_port: int = Field(1812, ge=1, le=65535, description="RADIUS authentication port (UDP)")
    radius_acct_port: int = Field(
        1813, ge=1, le=65535, validate_default=True, description="RADIUS accounting port (UDP)"
    )
    radius_binary: str = Field("freeradius", description="FreeRADIUS 3.2 executable")
    radius_node: str = Field(
        "node-1",
        min_length=1,
        max_length=40,
        description="name of this AAA node; spool offsets are kept per node",
    )

    smtp_url: SecretStr | None = Field(
        None,
        description="smtp://[user:password@]host:port, smtp+starttls://… or smtps://…; unset in the sandbox: the built-in mail trap",
    )
    mail_from: str = Field(
        "billing@demarc.example", description="sender of mail that a tenant has not set its own for"
    )
    mail_trap_port: int = Field(2525, ge=1, le=65535, description="port of the sandbox's mail trap")

    master_key_file: Path | None = Field(
        None, description="32 random bytes, base64; unset: <data_dir>/master.key, made at the first start"
    )
    sandbox: bool = Field(False, description="fill and serve the tenants demo-alpha and demo-beta")
    log_format: LogFormat = Field(LogFormat.CONSOLE, description="console or json")
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least level that is logged"
    )

    @field_validator("radius_acct_port")
    @classmethod
    def _ports_differ(cls, port: int, info: ValidationInfo) -> int:
        if port == info.data.get("radius_auth_port"):
            raise ValueError("has to be another port than DEMARC_RADIUS_AUTH_PORT")
        return port

    @cached_property
    def run_dir(self) -> Path:
        """Sockets, process ids and state of the running platform."""
        return self.data_dir.absolute() / "run"

    @cached_property
    def spool_dir(self) -> Path:
        """Where FreeRADIUS writes accounting and log-in lines for the ingester."""
        return self.data_dir.absolute() / "radius" / "spool"

    @cached_property
    def key_file(self) -> Path:
        return self.master_key_file or self.data_dir.absolute() / "master.key"


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        Misconfigured: naming the variable, the reason, and never the value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "settings"
        name = field if field.isupper() else f"DEMARC_{field.upper()}"
        raise Misconfigured(
            f"{name}: {first['msg']}. Run `demarc doctor --explain` for what it may be."
        ) from None
