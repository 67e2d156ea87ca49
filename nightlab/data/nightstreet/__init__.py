"""NightStreet: road scenes made from a seed, by night and by day, in the 19 Cityscapes classes.

The way of a scene: ``plan`` draws a street; ``ground``, ``buildings``, ``roadside``, ``traffic`` and ``people`` fill a
``world`` with polygons from ``mesh``, ``vehicles``, ``figures`` and ``furniture``; ``raster`` finds which polygon each
pixel shows; ``surface`` and ``pattern`` give it texture, ``light``, ``weather`` and ``sky`` light it, and ``sensor``
takes the picture. ``render`` does it all, ``source`` serves it to training.
"""

from .render import Scene, render
from .source import NightStreet

__all__ = ["NightStreet", "Scene", "render"]
