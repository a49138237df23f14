"""The worker hears its queue from the first moment: its own health check must not overtake the LISTEN."""

from __future__ import annotations

import asyncio

from demarc.worker.runner import build_queue, run_queue


async def test_the_first_health_check_is_heard_on_a_slow_machine(database):
    queue = build_queue(database, {})
    listen = queue.connection.add_listener

    calls = []

    async def listen_slowly(channel, callback):
        """The first call is the LISTEN on the wire; a second listener on the same channel sends nothing."""
        calls.append(channel)
        if len(calls) == 1:
            await asyncio.sleep(0.3)
        await listen(channel, callback)

    asked = asyncio.Event()
    notify = queue.connection.notify

    async def note(channel, payload):
        await notify(channel, payload)
        asked.set()

    queue.connection.add_listener, queue.connection.notify = listen_slowly, note
    running = asyncio.create_task(run_queue(queue))
    try:
        await asyncio.wait_for(asked.wait(), 30)
        async with asyncio.timeout(30):
            while queue.qm.pending_health_check:
                await asyncio.sleep(0.05)
    finally:
        queue.shutdown.set()
        await asyncio.wait_for(running, 30)
