"""Clock of a job: numbers of stages, time so far, time left; hand-worked values."""

import pytest

from edgeprune.cli import _clock
from edgeprune.cli._clock import StageClock, duration

STAGES = [  # 0.5, 6, 2 x 5 and 5 s as a rule
    ("01-layers", "find the layers"),
    ("09-export", "export to ONNX"),
    ("07-finetune", "fine-tune"),
    ("12-report", "write the report"),
]


class Told:
    """A console that keeps the stages that it is told."""

    def __init__(self):
        self.stages, self.notes = [], []

    def stage(self, title, reused, place):
        self.stages.append((title, reused, place))

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def clock(told, monkeypatch):
    """A clock of 2 epochs, and what sets the time that it reads."""
    now = [100.0]
    monkeypatch.setattr(_clock.time, "monotonic", lambda: now[0])
    made = StageClock(told, STAGES, epochs=2)
    made.at = lambda seconds: now.__setitem__(0, 100.0 + seconds)
    return made


def test_the_time_left_follows_from_how_fast_the_stages_were(clock, told):
    clock.stage("find the layers")
    clock.at(1.0)  # twice as long as usual: 6 + 10 + 5 s are left, twice
    clock.stage("export to ONNX")
    clock.at(14.0)  # 14 s for 6.5: 10 + 5 s are left, 14 / 6.5 times
    clock.stage("fine-tune")
    clock.at(30.5)  # 30.5 s for 16.5: 5 s are left, 30.5 / 16.5 times
    clock.stage("write the report")
    clock.at(40.0)
    assert told.stages == [
        ("find the layers", False, "stage 1 of 4"),
        ("export to ONNX", False, "stage 2 of 4; 1.0 s so far, about 42 s left"),
        ("fine-tune", False, "stage 3 of 4; 14 s so far, about 32 s left"),
        ("write the report", False, "stage 4 of 4; 30 s so far, about 9.2 s left"),
    ]
    assert clock.close() == [
        ("find the layers", 1.0),
        ("export to ONNX", 13.0),
        ("fine-tune", 16.5),
        ("write the report", 9.5),
    ]


def test_reused_stages_count_as_done_and_take_no_time(clock, told):
    clock.stage("find the layers", reused=True)
    clock.stage("export to ONNX", reused=True)
    clock.stage("fine-tune")
    clock.at(20.0)
    clock.stage("write the report")
    clock.at(21.0)
    assert told.stages[2:] == [
        ("fine-tune", False, "stage 3 of 4"),
        ("write the report", False, "stage 4 of 4; 20 s so far, about 10 s left"),
    ]
    assert clock.close() == [("fine-tune", 20.0), ("write the report", 1.0)]


def test_a_stage_that_goes_on_is_named_once_and_others_have_no_number(clock, told):
    for title in ("look at orin", "export to ONNX", "export to ONNX"):
        clock.stage(title)
    clock.note("a remark")
    assert told.stages == [("look at orin", False, ""), ("export to ONNX", False, "stage 2 of 4")]
    assert told.notes == ["a remark"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_bar_says_nothing_of_the_time_left_until_it_is_known(monkeypatch):
    from rich.progress import Task

    from edgeprune.cli._terminal import _TimeLeft

    task = Task(id=0, description="training", total=4, completed=0, _get_time=lambda: 10.0)
    assert _TimeLeft().render(task).plain == ""
    monkeypatch.setattr(Task, "time_remaining", 65.0)
    assert _TimeLeft().render(task).plain == "0:01:05"
