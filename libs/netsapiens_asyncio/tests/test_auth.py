from __future__ import annotations

import asyncio

import pytest

from netsapiens_asyncio import (
    AuthenticationError,
    InvalidInput,
    MfaRequired,
    NetsapiensAPI,
    SubscriptionAPI,
    Unauthorized,
)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "https://api.example.com",
        "http://api.example.com",
        "user:secret@api.example.com",
        "https://user:secret@api.example.com",
        "api.example.com/ns-api",
        "api.example.com?x=1",
        "api.example.com#x",
        "api.example.com\n",
        " api.example.com",
        "api.example.com:99999",
        "http://localhost:8080/path",
        "http://user:secret@localhost:8080",
        "http://localhost.example.com",
        "http://localhost@evil.example.com",
        "ftp://localhost",
        None,
    ],
)
def test_base_url_is_a_bare_host(credentials, base_url):
    with pytest.raises(ValueError, match="base_url") as caught:
        NetsapiensAPI({**credentials, "base_url": base_url})
    assert caught.value.field == "base_url"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    ["api.example.com", "api.example.com:8443", "10.0.0.1", "http://localhost:8080", "http://[::1]:80"],
)
def test_hosts_that_are_taken(credentials, base_url):
    NetsapiensAPI({**credentials, "base_url": base_url})


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "username", "password"])
def test_an_incomplete_configuration_names_the_field(credentials, missing):
    del credentials[missing]
    with pytest.raises(InvalidInput) as caught:
        NetsapiensAPI(credentials)
    assert caught.value.field == missing


@pytest.mark.parametrize("wrong", ["client_id", "client_secret", "username", "password"])
async def test_other_credentials_are_refused(pbx, credentials, wrong):
    credentials[wrong] = "somebody_else"
    async with NetsapiensAPI(credentials, transport=pbx.transport()) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.get_token()
    assert caught.value.status in {400, 403}
    assert "somebody_else" not in str(caught.value)


async def test_get_token_keeps_a_sound_token_and_fetches_a_fresh_one_on_demand(client, pbx):
    first = await client.get_token()
    assert (await client.get_token())["access_token"] == first["access_token"]
    assert (await client.get_token(fresh=True))["access_token"] != first["access_token"]
    assert pbx.token_requests == 2
    assert client.token_data["access_token"] != first["access_token"]


async def test_refresh_uses_the_refresh_token_and_falls_back_to_the_password(client, pbx):
    first = await client.get_token()
    second = await client.refresh_access_token()
    assert second["access_token"] != first["access_token"]
    assert pbx.token_requests == 2
    pbx.state.refreshes.clear()
    third = await client.refresh_access_token()
    assert third["access_token"] not in {first["access_token"], second["access_token"]}
    assert pbx.token_requests == 4  # the dead refresh token, then the password


async def test_the_token_is_renewed_before_its_end(moved):
    first = await moved.client.get_token()
    await moved.clock.advance(3600 - 61)
    assert (await moved.client.check_token_expiry())["access_token"] == first["access_token"]
    await moved.clock.advance(2)  # within the margin: still good on the PBX, no longer used
    assert (await moved.client.check_token_expiry())["access_token"] != first["access_token"]
    assert moved.pbx.token_requests == 2


async def test_fifty_calls_whose_token_expires_in_flight_renew_it_once(served):
    pbx = served.pbx
    async with NetsapiensAPI(served.config) as client:
        token = await client.get_token()
        pbx.state.tokens[token["access_token"]].expires_at = 0  # only the PBX knows
        answers = await asyncio.gather(*(client.request("GET", "/domains/~") for _ in range(50)))
    assert len(answers) == 50
    assert all(answer["domain"] == "testdomain.com" for answer in answers)
    assert pbx.token_requests == 2
    refused = [status for _, path, status in pbx.seen if path.endswith("/domains/~") and status == 401]
    assert len(refused) > 10  # they were in flight together


async def test_fifty_first_calls_log_in_once(served):
    async with NetsapiensAPI(served.config) as client:
        await asyncio.gather(*(client.request("GET", "/version") for _ in range(50)))
    assert served.pbx.token_requests == 1


async def test_a_401_with_a_fresh_token_is_raised_after_one_retry(client, pbx):
    pbx.faults.add("status", path="/domains/~$", times=None, status=401, message="Not for you")
    with pytest.raises(Unauthorized) as caught:
        await client.request("GET", "/domains/~")
    assert (caught.value.status, caught.value.code, caught.value.message) == (401, 401, "Not for you")
    assert isinstance(caught.value, AuthenticationError)
    assert sum(path.endswith("/domains/~") for _, path, _ in pbx.seen) == 2


async def test_older_cores_are_asked_on_the_old_path(client, pbx):
    pbx.faults.no_tokens_route = True
    first = await client.get_token()
    await client.refresh_access_token()
    assert client.token_data["access_token"] != first["access_token"]
    assert [path for _, path, _ in pbx.seen] == [
        "/ns-api/v2/tokens",
        "/ns-api/oauth2/token/",
        "/ns-api/oauth2/token/",
    ]


async def test_a_jwt_is_obtained_used_and_refreshed(pbx, credentials):
    credentials["token_type"] = "jwt"
    async with NetsapiensAPI(credentials, transport=pbx.transport()) as client:
        token = await client.get_token()
        assert token["access_token"].count(".") == 2
        assert token["expires_in"] == 3600
        assert (await client.request("GET", "/domains/~"))["domain"] == "testdomain.com"
        assert (await client.refresh_access_token())["access_token"] != token["access_token"]
        assert pbx.token_requests == 2


async def test_an_api_key_is_sent_as_it_is_and_never_renewed(pbx):
    config = {"base_url": "api.example.com", "api_key": "nsd_your_api_key"}
    async with NetsapiensAPI(config, transport=pbx.transport()) as client:
        assert (await client.request("GET", "/apikeys/~"))["user"] == "123"
        assert "expires_at" not in await client.get_token()
    async with NetsapiensAPI({**config, "api_key": "nsd_wrong"}, transport=pbx.transport()) as client:
        with pytest.raises(Unauthorized):
            await client.request("GET", "/apikeys/~")
    assert pbx.token_requests == 0


async def test_a_second_factor_is_asked_for(pbx, credentials):
    credentials["username"] = "your_username_mfa"
    async with NetsapiensAPI(credentials, transport=pbx.transport()) as client:
        with pytest.raises(MfaRequired):
            await client.get_token()
        with pytest.raises(AuthenticationError):
            await client.get_token(passcode="000000")
        assert (await client.get_token(passcode="110124"))["scope"] == "Super User"
        await client.request("GET", "/domains/~")


async def test_the_token_dictionary_authenticates_the_other_classes(client, served):
    async with NetsapiensAPI(served.config) as logged_on:
        token = await logged_on.get_token()
    assert await SubscriptionAPI(token).read_subscription() == []


async def test_expiry_sent_as_text_and_missing(client, pbx, monkeypatch):
    spell = pbx.state.spell
    monkeypatch.setattr(pbx.state, "spell", lambda *a: spell(*a) | {"expires_in": "120"})
    token = await client.get_token()
    assert token["expires_in"] == "120"
    monkeypatch.setattr(pbx.state, "spell", lambda *a: spell(*a) | {"expires_in": None})
    assert (await client.get_token(fresh=True))["expires_at"]
