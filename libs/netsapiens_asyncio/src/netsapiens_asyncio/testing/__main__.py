"""`python -m netsapiens_asyncio.testing --port 8080`: the fake PBX by itself, until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from netsapiens_asyncio.testing import FakePbx, serve

CREDENTIALS = """credentials: client_id your_client_id, client_secret your_client_secret, username your_username,
password your_password (your_username_mfa wants the passcode 110124); API key nsd_your_api_key.

control: POST /_fake/faults {"kind": "rate_limit", "path": "/messages", "times": 2, "seconds": 1}, DELETE /_fake/faults,
POST /_fake/events {"model": "cdr", "record": {...}}, POST /_fake/cdrs {"domain": "testdomain.com", "count": 500}"""


async def run(port: int, cdrs: int, token_seconds: float) -> None:
    """Serves until SIGINT or SIGTERM."""
    pbx = FakePbx(token_seconds=token_seconds)
    for back in range(cdrs):
        pbx.state.add_cdr("testdomain.com", pbx.clock.time() - 60 - back, 60)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(pbx, port) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await stopped.wait()
    await pbx.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m netsapiens_asyncio.testing",
        description=__doc__,
        epilog=CREDENTIALS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="on 127.0.0.1; 0 takes a free one (%(default)s)"
    )
    parser.add_argument("--cdrs", type=int, default=100, help="how many CDRs to begin with (%(default)s)")
    parser.add_argument("--token-seconds", type=float, default=3600, help="life of a token (%(default)s)")
    wanted = parser.parse_args()
    asyncio.run(run(wanted.port, wanted.cdrs, wanted.token_seconds))


if __name__ == "__main__":
    main()
