"""A fake PBX for the tests of whoever uses this library: in process, or on a port.

    async with serve(FakePbx()) as url:
        client = NetsapiensAPI({"base_url": url, "client_id": "your_client_id", ...})

It follows the vendor's description of API v2, takes the credentials of the README and refuses others, and can be made
to fail: see `Faults`. `python -m netsapiens_asyncio.testing --port 8080` runs it by itself.
"""

from netsapiens_asyncio.testing.clock import MovedClock
from netsapiens_asyncio.testing.faults import Fault, Faults
from netsapiens_asyncio.testing.pbx import FakePbx
from netsapiens_asyncio.testing.server import serve
from netsapiens_asyncio.testing.sink import EventSink

__all__ = ["EventSink", "FakePbx", "Fault", "Faults", "MovedClock", "serve"]
