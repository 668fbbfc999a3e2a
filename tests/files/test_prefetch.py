import threading

import pytest

from edgeprune.files.prefetch import ahead


class Jobs:
    """Jobs that note when they were begun."""

    def __init__(self, count, fail_at=None):
        self.begun, self.threads, self.fail_at, self.count = [], set(), fail_at, count

    def _job(self, number):
        def work():
            self.begun.append(number)
            self.threads.add(threading.current_thread())
            if number == self.fail_at:
                raise OSError(f"job {number}")
            return number * number

        return work

    def __iter__(self):
        return (self._job(number) for number in range(self.count))


@pytest.mark.parametrize("depth", [1, 2, 5, 50])
def test_results_come_in_order_from_one_other_thread(depth):
    jobs = Jobs(20)
    assert list(ahead(jobs, depth)) == [number**2 for number in range(20)]
    assert jobs.begun == list(range(20))
    assert len(jobs.threads) == 1
    assert threading.main_thread() not in jobs.threads


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_jobs_are_done_ahead(depth):
    jobs = Jobs(20)
    for taken, _ in enumerate(ahead(jobs, depth)):
        assert len(jobs.begun) <= taken + 1 + depth


def test_what_a_job_raises_comes_in_its_turn():
    results = ahead(Jobs(6, fail_at=3))
    found = [next(results) for _ in range(3)]
    with pytest.raises(OSError, match="job 3"):
        next(results)
    assert found == [0, 1, 4]


def test_nothing_is_begun_and_no_thread_is_left_when_nobody_takes_more():
    jobs, before = Jobs(20), threading.active_count()
    results = ahead(jobs)
    next(results)
    results.close()
    assert len(jobs.begun) <= 2
    assert threading.active_count() == before


def test_no_jobs_give_no_results():
    assert list(ahead([])) == []
