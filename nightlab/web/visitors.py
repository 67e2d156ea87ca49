"""Whose photo is whose: what belongs to a visitor is reached by his key alone, and is forgotten when he goes.

A key is drawn for each time that the page is opened. The page keeps it in its own memory and sends it with every
request; there is no cookie, which other pages' requests would carry too.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nightlab.errors import InputError
from nightlab.web.stepped import Scene

IDLE_SECONDS = 1800.0
MAX_VISITORS = 256
# A scene of two megapixels and 19 classes takes 160 MB.
MAX_SCENES = 8


@dataclass(eq=False)
class Visitor:
    """One opened page: its last photo as the model sees it, and its last job."""

    last_heard: float
    scene: Scene | None = None
    job: Any = field(default=None, repr=False)
    gone: bool = False


class Visitors:
    """Those who were heard of in the last `IDLE_SECONDS`; the longest silent ones give way to new ones."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Visitor] = OrderedDict()  # the longest silent first

    def welcome(self) -> str:
        """The key of a new visitor."""
        self.sweep()
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._known[key] = Visitor(self._clock())
            while len(self._known) > MAX_VISITORS:
                self._drop(next(iter(self._known)))
        return key

    def of(self, key: str) -> Visitor:
        """Raises InputError where nobody has this key, or no longer."""
        self.sweep()
        with self._lock:
            visitor = self._known.get(key)
            if visitor is None:
                raise InputError("this page was left alone for too long; reload it")
            visitor.last_heard = self._clock()
            self._known.move_to_end(key)
            return visitor

    def keep(self, visitor: Visitor, scene: Scene) -> None:
        """Remember a visitor's scene in the place of his last one; those of the longest silent ones make room."""
        with self._lock:
            if visitor.gone:
                return
            visitor.scene = scene
            holders = [other for other in self._known.values() if other.scene is not None]
            for other in holders[: max(len(holders) - MAX_SCENES, 0)]:
                other.scene = None

    def forget(self, key: str) -> None:
        with self._lock:
            if key in self._known:
                self._drop(key)

    def sweep(self) -> None:
        """Forget those who were silent for too long."""
        with self._lock:
            while self._known:
                key, visitor = next(iter(self._known.items()))
                if self._clock() - visitor.last_heard < IDLE_SECONDS:
                    break
                self._drop(key)

    def _drop(self, key: str) -> None:
        visitor = self._known.pop(key)
        visitor.scene, visitor.job, visitor.gone = None, None, True
