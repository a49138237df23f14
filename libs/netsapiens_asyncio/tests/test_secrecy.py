"""No secret, token or message text in any log at any level, in any error, in any repr."""

from __future__ import annotations

import logging
import traceback

import pytest
import stamina.instrumentation

from netsapiens_asyncio import (
    AuthenticationError,
    DevicesAPI,
    MessageAPI,
    NetsapiensAPI,
    NetsapiensError,
    RetryPolicy,
    SubscriptionAPI,
)

TEXT = 'The password of "my" safe is 4711, ünïcode'
SIP_SECRET = "sip-secret-5c1"


@pytest.fixture
def every_log(caplog):
    """All loggers at level 1; retries on the standard library's logger, where they can be searched."""
    stamina.instrumentation.set_on_retry_hooks([stamina.instrumentation.LoggingOnRetryHook])
    with caplog.at_level(1):
        for name in ("httpx", "httpcore", "httpcore.http11", "netsapiens_asyncio", "stamina", "asyncio"):
            logging.getLogger(name).setLevel(1)
        yield caplog
    for name in ("httpx", "httpcore", "httpcore.http11", "netsapiens_asyncio", "stamina", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    stamina.instrumentation.set_on_retry_hooks(None)


async def misadventures(served, errors):
    """A day on which everything fails at least once."""
    faults = served.pbx.faults
    policy = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=0.002)
    async with NetsapiensAPI(served.config, retries=policy, timeout=2) as client:
        faults.add("echo", path="/tokens$", times=1)
        token = await client.get_token()
        messages = MessageAPI(client)
        sms = ("sms", TEXT, "12135550177", "1987654321")
        for kind in ("echo", "status", "status_after", "cut", "cut_early", "rate_limit", "html"):
            faults.add(kind, method="POST", path="/messages", seconds=0)
            try:
                await messages.send_message(*sms, messagesession="s" * 32)
            except NetsapiensError as error:
                errors.append(error)
        await messages.get_messages("s" * 32)
        faults.add("echo", method="POST", path="/devices$")
        try:
            await DevicesAPI(client).create(
                "testdomain.com", "123", "d", {"device-sip-registration-password": SIP_SECRET}
            )
        except NetsapiensError as error:
            errors.append(error)
        faults.add("echo", path="/subscriptions$", times=None)
        try:
            await SubscriptionAPI(client).read_subscription()
        except NetsapiensError as error:
            errors.append(error)
        renewed = await client.refresh_access_token()
        return [each[key] for each in (token, renewed) for key in ("access_token", "refresh_token")], client


async def test_nothing_private_is_logged_or_raised(served, every_log):
    errors: list[Exception] = []
    tokens, client = await misadventures(served, errors)
    assert len(errors) >= 6
    spoken = "\n".join(_everything(record) for record in every_log.records)
    raised = "\n".join("".join(traceback.format_exception(error)) + repr(vars(error)) for error in errors)
    assert "POST /domains/~/users/~/messagesessions" in spoken  # the search has something to search
    assert "retry_scheduled" in spoken
    assert "[masked]" in raised
    for secret in (*tokens, "your_client_secret", "your_password", TEXT, "safe is 4711", SIP_SECRET):
        assert secret not in spoken
        assert secret not in raised
        assert secret not in repr(client)


def _everything(record):
    return f"{record.getMessage()} {vars(record)}"


async def test_a_refused_login_keeps_the_password_to_itself(served, every_log):
    config = {**served.config, "password": "hunter2-secret"}
    served.pbx.faults.add("echo", path="/tokens$", times=None)
    async with NetsapiensAPI(config, retries=RetryPolicy(attempts=2, first_wait=0.001)) as client:
        with pytest.raises(NetsapiensError) as caught:
            await client.get_token()
    served.pbx.faults.clear()
    async with NetsapiensAPI(config) as client:
        with pytest.raises(AuthenticationError) as refused:
            await client.get_token()
    texts = [_everything(record) for record in every_log.records]
    texts += [str(error.value) + repr(vars(error.value)) for error in (caught, refused)]
    assert not any("hunter2-secret" in text or "your_client_secret" in text for text in texts)
