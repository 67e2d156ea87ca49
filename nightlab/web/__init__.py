"""A model on a local web page: the page, the server behind it, and what both exchange. Nothing of it touches the disk.

uploads   a visitor's photo: checked, decoded, brought to what the model takes
stepped   a model in two steps: a frame once, its regions again for every setting of the sliders
answers   what the page is told, as JSON
visitors  whose photo is whose, and until when it is kept
desk      one job after the other, and one at a time for each visitor
app       the addresses that the server answers
serve     the server
page/     what the browser shows: no library, nothing from elsewhere
"""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip
