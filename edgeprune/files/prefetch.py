"""Work done ahead of whoever takes its results, by one thread."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def ahead(jobs: Iterable[Callable[[], Result]], depth: int = 1) -> Iterator[Result]:
    """The results of jobs in their order; while one is used, the next `depth` are done already or being done.

    What a job raises is raised here, in its turn. When nobody takes results any more, no further job is begun.

    Args:
        jobs: What is to be done, one after another.
        depth: Results that may wait, 1 or more: it bounds the memory that they take.
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
