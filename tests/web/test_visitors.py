"""Visitors: found by their key alone, forgotten when they leave or fall silent."""

import pytest

from nightlab.errors import InputError
from nightlab.web import visitors
from nightlab.web.visitors import Visitors


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_keys_lead_to_their_visitor_only():
    known = Visitors()
    first, second = known.welcome(), known.welcome()
    assert first != second and len(first) >= 43 and known.of(first) is known.of(first) is not known.of(second)
    for stranger in ("", first[:-1], first + " "):
        with pytest.raises(InputError, match="reload"):
            known.of(stranger)


def test_who_leaves_leaves_nothing():
    known = Visitors()
    key = known.welcome()
    visitor = known.of(key)
    known.keep(visitor, object())
    known.forget(key)
    known.forget(key)
    assert visitor.gone and visitor.scene is None and visitor.job is None
    known.keep(visitor, object())  # the job ends after he left
    assert visitor.scene is None
    with pytest.raises(InputError):
        known.of(key)


def test_the_silent_are_forgotten():
    clock = Clock()
    known = Visitors(clock)
    silent, heard = known.welcome(), known.welcome()
    scene = known.of(silent)
    clock.now = visitors.IDLE_SECONDS - 1
    known.of(heard)
    clock.now = visitors.IDLE_SECONDS
    known.sweep()
    assert scene.gone and not known.of(heard).gone


def test_the_longest_silent_make_room(monkeypatch):
    monkeypatch.setattr(visitors, "MAX_SCENES", 2)
    monkeypatch.setattr(visitors, "MAX_VISITORS", 3)
    known = Visitors()
    keys = [known.welcome() for _ in range(3)]
    for key in keys:
        known.keep(known.of(key), object())
    assert [known.of(key).scene is None for key in keys] == [True, False, False]
    known.of(keys[0])
    known.welcome()
    assert not known.of(keys[0]).gone
    with pytest.raises(InputError):
        known.of(keys[1])
