"""The environment is read once, explained when it is wrong, and its secrets stay out of sight."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from demarc.kernel.errors import Misconfigured
from demarc.kernel.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DEMARC_{name.upper()}", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_nothing_has_to_be_set():
    settings = load_settings()
    assert settings.http_port == 8000
    assert settings.database_url is None
    assert settings.key_file == settings.data_dir.absolute() / "master.key"
    assert str(settings.http_host) == str(settings.radius_host) == "127.0.0.1"


def test_the_environment_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("DEMARC_HTTP_PORT", "9000")
    monkeypatch.setenv("DATABASE_URL", "postgresql://owner:hunter2@db.example/demarc")
    monkeypatch.setenv("DEMARC_MASTER_KEY_FILE", str(tmp_path / "k"))
    monkeypatch.setenv("DEMARC_SANDBOX", "true")
    settings = load_settings()
    assert settings.http_port == 9000
    assert isinstance(settings.database_url, SecretStr)
    assert settings.key_file == tmp_path / "k"
    assert settings.sandbox is True
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_an_empty_value_is_none(monkeypatch):
    """As `DATABASE_URL=` in an environment file: not a database of whatever libpq finds."""
    for name in ("DATABASE_URL", "DEMARC_SMTP_URL", "DEMARC_HTTP_PORT", "DEMARC_MASTER_KEY_FILE"):
        monkeypatch.setenv(name, "")
    assert load_settings() == Settings()
    assert (load_settings().database_url, load_settings().http_port) == (None, 8000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEMARC_HTTP_PORT", "0"),
        ("DEMARC_HTTP_PORT", "http"),
        ("DEMARC_RADIUS_AUTH_PORT", "70000"),
        ("DEMARC_HTTP_HOST", "everywhere"),
        ("DEMARC_HTTP_WORKERS", "0"),
        ("DEMARC_LOG_FORMAT", "xml"),
        ("DEMARC_LOG_LEVEL", "LOUD"),
        ("DEMARC_RADIUS_NODE", "n" * 41),
        ("DEMARC_SANDBOX", "perhaps"),
        ("DEMARC_RADIUS_ACCT_PORT", "1812"),
    ],
)
def test_a_bad_value_names_its_variable_and_the_way_out(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as refused:
        load_settings()
    assert refused.value.message.startswith(f"{name}: ")
    assert "demarc doctor --explain" in refused.value.message


def test_a_bad_secret_is_not_repeated(monkeypatch):
    monkeypatch.setenv("DEMARC_HTTP_PORT", "hunter2")
    with pytest.raises(Misconfigured) as refused:
        load_settings()
    assert "hunter2" not in refused.value.message


def test_settings_stand_still():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().http_port = 1


def test_every_setting_is_explained():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
