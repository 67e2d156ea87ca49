"""The Cityscapes label set: the 19 training classes, their colours, and the map from the 34 label ids.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, and its label table.
"""

CLASSES: tuple[str, ...] = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""Class names in the order of the train ids 0 to 18."""

COLORS: tuple[tuple[int, int, int], ...] = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
"""RGB colours, 0 to 255, in the order of `CLASSES`."""

UNTRAINED_COLORS: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (111, 74, 0),
    (81, 0, 81),
    (250, 170, 160),
    (230, 150, 140),
    (180, 165, 180),
    (150, 100, 100),
    (150, 120, 90),
    (0, 0, 90),
    (0, 0, 110),
)
"""RGB colours of the label ids that are not trained: void, dynamic, ground, parking, rail track, guard rail, bridge,
tunnel, caravan, trailer."""

IGNORE_LABEL = 255

_TRAINED_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

LABEL_IDS_TO_TRAIN_IDS: dict[int, int] = {
    label_id: _TRAINED_LABEL_IDS.index(label_id) if label_id in _TRAINED_LABEL_IDS else IGNORE_LABEL
    for label_id in range(34)
}
"""Label ids 0 to 33 (files `*_labelIds.png`) to train ids; ids that are not trained map to `IGNORE_LABEL`."""
