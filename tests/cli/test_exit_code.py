"""A command that says with which code it ends."""

from edgeprune.tasks import doctor
from edgeprune.tasks.doctor import Finding


def test_a_doctor_that_found_a_problem_ends_with_its_code(run, monkeypatch):
    monkeypatch.setattr(doctor, "diagnose", lambda: [Finding("disk", "full", ok=False)])
    outcome = run("doctor", "--json")
    assert outcome.code == 2
    assert outcome.json == {"disk": {"found": "full", "ok": False}}


def test_a_doctor_that_found_none_ends_with_0(run, monkeypatch):
    monkeypatch.setattr(doctor, "diagnose", lambda: [Finding("disk", "empty", ok=True)])
    assert run("doctor", "--json").code == 0
