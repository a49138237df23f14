"""Work done ahead by a few threads, where a carrier has to be asked for each row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")
# One row, and how to have what the work made of it; that raises what the work raised.
Outcome = tuple[Row, Callable[[], Result]]


def work_ahead(
    work: Callable[[Row], Result], batches: Iterable[Sequence[Row]], threads: int
) -> Iterator[list[Outcome[Row, Result]]]:
    """The batches in order, each row with its outcome; while one is used, the next is worked on.

    No more than `threads` rows are worked on at any moment and no more than two batches are held. With one thread the
    work is done when an outcome is asked for, by the caller. The work must not touch the database: a thread would do it
    over a connection of its own, outside of the caller's transaction.
    """
    if threads <= 1:
        yield from ([(row, partial(work, row)) for row in batch] for batch in batches)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="carrier")
    try:
        ready: list[Outcome[Row, Result]] | None = None
        for batch in batches:
            begun = [(row, pool.submit(work, row).result) for row in batch]
            if ready is not None:
                yield ready
            ready = begun
        if ready is not None:
            yield ready
    finally:
        # A run that was broken off does not wait for the carrier.
        pool.shutdown(wait=False, cancel_futures=True)
