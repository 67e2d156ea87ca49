"""What all requests have in common, and what they can ask for."""

import time

import numpy as np

from nightlab.errors import InputError
from nightlab.web import answers
from nightlab.web.desk import Answer, Desk
from nightlab.web.examples import Examples
from nightlab.web.stepped import Scene, SteppedModel
from nightlab.web.uploads import Limits, decode, fit
from nightlab.web.visitors import Visitor, Visitors


class Settings:
    """Where a page's sliders stand, within what the model's allow."""

    def __init__(self, model: SteppedModel, number: int | None = None, threshold: float | None = None):
        self.number, self.threshold = 0, 0.0
        if model.sliders:
            number = model.sliders.number if number is None else number
            self.number = min(max(number, 0), model.sliders.most)
            self.threshold = model.sliders.threshold if threshold is None else threshold


class Room:
    """The model under a name to show, its examples, its visitors and its desk."""

    def __init__(
        self, name: str, model: SteppedModel, examples: Examples, limits: Limits, longest_side: int | None = None
    ):
        """`longest_side`: what photos are reduced to, for a model that knows small frames only."""
        self.name, self.model, self.examples, self.limits = name, model, examples, limits
        self._longest_side = longest_side
        self.visitors = Visitors()
        self.desk = Desk(self.visitors)

    def welcome(self) -> Answer:
        """A new visitor's key, and what the page must know."""
        about = answers.about(self.name, self.model, self.limits, self.examples.names)
        return {"key": self.visitors.welcome(), **about}

    def see_photo(self, visitor: Visitor, data: bytes, settings: Settings) -> Answer:
        """Both levels of an upload. Raises InputError for what is no photo."""
        return self._see(visitor, decode(data, self.limits), settings)

    def see_example(self, visitor: Visitor, number: int, settings: Settings) -> Answer:
        """Both levels of an example."""
        return self._see(visitor, self.examples.image(number), settings)

    def see_again(self, visitor: Visitor, settings: Settings) -> Answer:
        """The same picture with other settings: the image level is not asked again."""
        scene = visitor.scene
        if scene is None:
            raise InputError("your picture was put away to make room for others; give it again")
        return self._merged(scene, settings)

    def _see(self, visitor: Visitor, photo: np.ndarray, settings: Settings) -> Answer:
        frame = fit(photo, self.model.size, self._longest_side)
        start = time.perf_counter()
        scene = self.model.scene(frame.image)
        seconds = time.perf_counter() - start
        self.visitors.keep(visitor, scene)
        shown = answers.picture(frame.image, scene.image_level, frame.note)
        return {**shown, **self._merged(scene, settings), "image_seconds": seconds}

    def _merged(self, scene: Scene, settings: Settings) -> Answer:
        start = time.perf_counter()
        seen = scene.merged(settings.number, settings.threshold)
        seconds = time.perf_counter() - start
        return {**answers.merged(seen, self.model.classes), "merge_seconds": seconds}
