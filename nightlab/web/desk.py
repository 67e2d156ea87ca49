"""The desk: one job after the other in one thread, so that visitors share the machine instead of fighting for it."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from nightlab.errors import InputError, one_line
from nightlab.web.visitors import Visitor, Visitors

logger = logging.getLogger(__name__)

Answer = dict[str, Any]
MAX_WAITING = 16
# Of noise, one of two megapixels takes 17 MB.
MAX_ANSWERS = 16
SWEEP_SECONDS = 30.0


class Job:
    """A visitor's wish: `waiting`, `working`, then `done` with an answer or `failed` with a message of one line."""

    def __init__(self, visitor: Visitor, work: Callable[[], Answer]):
        self.visitor = visitor
        self.state = "waiting"
        self.answer: Answer = {}
        self.message = ""
        self._work: Callable[[], Answer] | None = work

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed")

    def run(self) -> None:
        assert self._work is not None
        self.state = "working"
        try:
            self.answer = self._work()
        except InputError as error:
            self.message = one_line(error)
        except Exception as error:  # whatever a model or a decoder meets, the next visitor is served
            logger.exception("a job failed")
            self.message = f"the model cannot see this photo ({type(error).__name__}); try another one"
        self._work = None  # it holds the upload
        self.state = "failed" if self.message else "done"

    def put_away(self) -> None:
        """Its answer, for which nobody has come."""
        if self.state == "done":
            self.state, self.message = "failed", "this answer was put away to make room for others; ask again"
            self.answer = {}


class Desk:
    """Takes jobs and works on them in their order, in a thread that ends with the process. The last `MAX_ANSWERS` are
    kept for those who ask."""

    def __init__(self, visitors: Visitors):
        self._visitors = visitors
        self._queue: deque[Job] = deque()
        self._done: deque[Job] = deque()
        self._changed = threading.Condition()
        self._working = False

    def open(self) -> "Desk":
        threading.Thread(target=self._serve, name="desk", daemon=True).start()
        return self

    def take(self, visitor: Visitor, work: Callable[[], Answer]) -> Job:
        """Raises InputError where the visitor waits for another job, or too many wait before him."""
        with self._changed:
            if visitor.job is not None and not visitor.job.is_over:
                raise InputError("your last picture is still being worked on; wait for it")
            if len(self._queue) >= MAX_WAITING:
                raise InputError("too many are waiting; try again in a minute")
            job = visitor.job = Job(visitor, work)
            self._queue.append(job)
            self._changed.notify()
            return job

    def before(self, job: Job) -> int:
        """How many jobs come first."""
        with self._changed:
            return self._queue.index(job) + self._working if job in self._queue else 0

    def work_once(self, patience: float | None = SWEEP_SECONDS) -> None:
        """The next job, or none where nobody brings one for `patience` seconds. Visitors who left are passed over."""
        with self._changed:
            if not self._queue:
                self._changed.wait(patience)
            job = self._queue.popleft() if self._queue else None
            self._working = job is not None
        if job is not None and not job.visitor.gone:
            job.run()
            self._done.append(job)
            if len(self._done) > MAX_ANSWERS:
                self._done.popleft().put_away()
        self._working = False
        self._visitors.sweep()

    def _serve(self) -> None:
        while True:
            self.work_once()
