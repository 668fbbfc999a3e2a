"""Prefetching: one thread works ahead of the consumer of its results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def ahead(jobs: Iterable[Callable[[], Result]], depth: int = 1) -> Iterator[Result]:
    """Yield the results of jobs in order; while one is used, the next `depth` are computed ahead.

    An exception of a job is raised here, in its turn. When the consumer stops, no further job is started.

    Args:
        jobs: Jobs to run, one after another.
        depth: Number of results that may wait, 1 or more: it bounds their memory.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    waiting: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
