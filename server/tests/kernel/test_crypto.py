"""Secrets at rest: bound to their place, unreadable when touched, and a wrong master key is refused before any use."""

from __future__ import annotations

import base64
import stat

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.context import system
from demarc.kernel.crypto import MasterKey, load_master_key
from demarc.kernel.errors import Misconfigured
from demarc.kernel.migrate import check_master_key

KEY = MasterKey(bytes(range(32)))
OTHER = MasterKey(bytes(32))


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_is_sealed_is_opened_in_its_place(plaintext, about):
    assert KEY.open(KEY.seal(plaintext, about), about) == plaintext


@given(st.binary(max_size=50), st.data())
def test_a_touched_byte_is_noticed(plaintext, data):
    sealed = bytearray(KEY.seal(plaintext, b"place"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Misconfigured):
        KEY.open(bytes(sealed), b"place")


def test_another_place_or_key_cannot_open_it():
    sealed = KEY.seal(b"secret", b"nas:1")
    with pytest.raises(Misconfigured, match="master key"):
        KEY.open(sealed, b"nas:2")
    with pytest.raises(Misconfigured) as refused:
        OTHER.open(sealed, b"nas:1")
    assert refused.value.code == "WRONG_MASTER_KEY"
    assert "DEMARC_MASTER_KEY_FILE" in refused.value.message


def test_the_same_secret_never_looks_the_same():
    assert KEY.seal(b"x", b"") != KEY.seal(b"x", b"")


def test_purposes_have_keys_of_their_own():
    assert KEY.derive("access-token") == KEY.derive("access-token")
    assert len({KEY.derive("access-token"), KEY.derive("other"), OTHER.derive("access-token")}) == 3
    assert len(KEY.derive("x")) == 32


def test_a_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "new" / "master.key"
    made = load_master_key(path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_master_key(path, create=True).derive("x") == made.derive("x")
    assert load_master_key(path).derive("x") == made.derive("x")


@pytest.mark.parametrize(
    "content",
    ["", "not base64!", base64.b64encode(b"\x9a" * 31).decode(), base64.b64encode(b"\x9a" * 33).decode()],
)
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path, content):
    path = tmp_path / "master.key"
    path.write_text(content)
    with pytest.raises(Misconfigured) as refused:
        load_master_key(path)
    assert str(path) in refused.value.message
    assert not content or content not in refused.value.message


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(Misconfigured, match="is missing"):
        load_master_key(tmp_path / "gone.key")


@pytest.mark.parametrize("secret", ["testing123", "", "ünïcödé 🔑", "x" * 5000])
async def test_a_tenants_secret_comes_back(tx, master_key, secret):
    sealed = await master_key.encrypt(tx, secret, "nas:17")
    assert secret.encode() not in sealed or not secret
    assert await master_key.decrypt(tx, sealed, "nas:17") == secret


async def test_a_tenants_secret_is_bound_to_place_and_tenant(tx, database, master_key):
    sealed = await master_key.encrypt(tx, "testing123", "nas:17")
    with pytest.raises(Misconfigured, match="nas:18"):
        await master_key.decrypt(tx, sealed, "nas:18")
    async with database.begin(2, system("test")) as theirs:
        with pytest.raises(Misconfigured) as refused:
            await master_key.decrypt(theirs, sealed, "nas:17")
    assert "testing123" not in refused.value.message


async def test_a_data_key_wrapped_for_one_tenant_is_no_use_to_another(master_key):
    with pytest.raises(Misconfigured):
        master_key.open(master_key.new_data_key(1), b"tenant:2")


async def test_a_lost_data_key_is_named(tx, scratch, master_key):
    await tx.connection.execute("DELETE FROM tenant_key")
    with pytest.raises(Misconfigured, match="no data key"):
        await master_key.encrypt(tx, "x", "y")


async def test_the_database_remembers_its_master_key(scratch, master_key):
    await check_master_key(scratch.owner_dsn, master_key)
    await check_master_key(scratch.owner_dsn, master_key)
    with pytest.raises(Misconfigured, match="not the one"):
        await check_master_key(scratch.owner_dsn, OTHER)
    await check_master_key(scratch.owner_dsn, master_key)


def test_the_library_refuses_too():
    """`_open` raises what `open` translates; nothing else slips through."""
    with pytest.raises(InvalidTag):
        KEY._aead.decrypt(bytes(12), bytes(16), b"")
