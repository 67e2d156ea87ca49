"""The desk: in turn, one job a visitor, and nothing stops it."""

import threading

import pytest

from nightlab.errors import InputError
from nightlab.web import desk as desks
from nightlab.web.desk import Desk
from nightlab.web.visitors import Visitors


@pytest.fixture
def visitors():
    return Visitors()


@pytest.fixture
def desk(visitors):
    return Desk(visitors)


@pytest.fixture
def guests(visitors):
    return [visitors.of(visitors.welcome()) for _ in range(3)]


def test_in_the_order_they_came(desk, guests):
    jobs = [desk.take(guest, lambda i=i: {"turn": i}) for i, guest in enumerate(guests)]
    assert [desk.before(job) for job in jobs] == [0, 1, 2] and jobs[2].state == "waiting"
    desk.work_once()
    assert jobs[0].state == "done" and [desk.before(job) for job in jobs] == [0, 0, 1]
    desk.work_once()
    desk.work_once()
    assert [job.answer["turn"] for job in jobs] == [0, 1, 2]


def test_one_job_a_visitor(desk, guests):
    desk.take(guests[0], dict)
    with pytest.raises(InputError, match="still being worked on"):
        desk.take(guests[0], dict)
    desk.work_once()
    desk.take(guests[0], dict)


def test_a_full_desk_says_so(desk, guests, monkeypatch):
    monkeypatch.setattr(desks, "MAX_WAITING", 2)
    for guest in guests[:2]:
        desk.take(guest, dict)
    with pytest.raises(InputError, match="too many are waiting"):
        desk.take(guests[2], dict)
    assert guests[2].job is None


def test_answers_that_nobody_asks_for_make_room(desk, guests, monkeypatch):
    monkeypatch.setattr(desks, "MAX_ANSWERS", 2)
    jobs = [desk.take(guest, lambda i=i: {"turn": i}) for i, guest in enumerate(guests)]
    for _ in guests:
        desk.work_once()
    assert [(job.state, job.answer) for job in jobs[1:]] == [("done", {"turn": 1}), ("done", {"turn": 2})]
    assert jobs[0].state == "failed" and not jobs[0].answer and "put away" in jobs[0].message


def test_a_job_that_fails_is_told_and_the_next_one_done(desk, guests, caplog):
    def refused():
        raise InputError("a.png: is no photo")

    def broken():
        raise RuntimeError("/secret/path: out of memory")

    jobs = [desk.take(guest, work) for guest, work in zip(guests, (refused, broken, dict), strict=True)]
    for _ in jobs:
        desk.work_once()
    assert [job.state for job in jobs] == ["failed", "failed", "done"]
    assert jobs[0].message == "a.png: is no photo" and "secret" not in jobs[1].message
    assert "out of memory" in caplog.text  # for whoever runs the server


def test_who_left_is_passed_over(desk, visitors, guests):
    key = visitors.welcome()
    done = []
    desk.take(visitors.of(key), lambda: done.append(1) or {})
    visitors.forget(key)
    desk.work_once()
    desk.work_once(patience=0)  # nobody waits
    assert not done


def test_the_thread_works(desk, guests):
    finished = threading.Event()
    desk.open()
    desk.take(guests[0], lambda: finished.set() or {})
    assert finished.wait(10)
