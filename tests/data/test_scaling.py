"""Scale and crop in one step: the same draws and the same pixels as one after the other."""

import numpy as np
import pytest
from detectron2.data import transforms as T

from nightlab.data.mapper import seeded
from nightlab.data.scaling import CropWithin, RandomScale, RandomScaledCrop


@pytest.mark.parametrize("frame", [(60, 80), (33, 97), (40, 48), (30, 200)])  # with and without padding afterwards
@pytest.mark.parametrize("image_size", [(0, 0), (90, 120)])
def test_one_step_gives_what_two_give(frame, image_size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*frame, 3), dtype=np.uint8)
    label = rng.integers(0, 3, frame).astype(np.uint8)
    scale, crop = RandomScale(image_size, (0.4, 2.0)), CropWithin((40, 48), 0.35, 255)
    for seed in range(20):
        results = []
        for steps in ([scale, crop], [RandomScaledCrop(scale, crop)]):
            given = T.AugInput(image, sem_seg=label)
            with seeded(seed):
                T.AugmentationList(steps)(given)
                after = np.random.rand()
            results.append((given.image, given.sem_seg, after))
        (image_two, label_two, after_two), (image_one, label_one, after_one) = results
        assert image_one.shape == image_two.shape and np.array_equal(label_one, label_two) and after_one == after_two
        # Pillow rounds positions in a window at other places: noise differs by a grey level here and there.
        difference = np.abs(image_one.astype(int) - image_two)
        assert difference.max() <= 2 and difference.mean() < 0.2


def test_windows_are_those_of_detectron2():
    rng = np.random.default_rng(1)
    image = np.zeros((60, 80, 3), np.uint8)
    for seed in range(30):
        label = np.where(rng.random((60, 80)) < 0.7, 0, rng.choice([1, 2, 255], (60, 80))).astype(np.uint8)
        label[:, 40:] = 255 if seed % 3 else 0
        windows = []
        for crop in (
            CropWithin((20, 24), 0.75, 255),
            T.RandomCrop_CategoryAreaConstraint("absolute", (20, 24), 0.75, 255),
        ):
            with seeded(seed):
                drawn = crop.get_transform(image, label)
            windows.append((drawn.x0, drawn.y0, drawn.w, drawn.h))
        assert windows[0] == windows[1]


def test_boxes_move_with_the_image():
    scale, crop = RandomScale((0, 0), (2.0, 2.0)), CropWithin((40, 48), 1.0, 255)
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:60] = 255
    given = T.AugInput(image, sem_seg=np.zeros((60, 80), np.uint8), boxes=np.array([[30.0, 20.0, 60.0, 40.0]]))
    with seeded(3):
        T.AugmentationList([RandomScaledCrop(scale, crop)])(given)
    x0, y0, x1, y1 = np.clip(given.boxes[0], 0, [48, 40, 48, 40]).round().astype(int)
    assert (given.image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] == 255).all() and (y1 - y0) * (x1 - x0) > 0
