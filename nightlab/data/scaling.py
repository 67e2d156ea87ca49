"""Random scale and random crop, for which only what the crop shows is resampled, and not the rest of the frame."""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, NoOpTransform, Transform
from PIL import Image


class RandomScale(T.Augmentation):
    """Scales a frame, aspect kept, to fit into `size` (height, width; zeros: its own) times a random factor."""

    def __init__(self, size: Sequence[int], scale_range: Sequence[float]):
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = self.size if all(self.size) else image.shape[:2]
        return T.ResizeScale(*self.scale_range, height, width).get_transform(image)


class CropWithin(T.Augmentation):
    """Cuts a window of at most `size`, redrawn up to ten times while one class covers more than `max_share` of it.

    The windows are those of detectron2's RandomCrop_CategoryAreaConstraint, which sorts all pixels of each it tries.
    """

    def __init__(self, size: Sequence[int], max_share: float, ignore_label: int):
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        frame = image.shape[:2]
        height, width = min(self.size[0], frame[0]), min(self.size[1], frame[1])
        if (height, width) == frame:
            return NoOpTransform()
        for _ in range(10):
            top, left = np.random.randint(frame[0] - height + 1), np.random.randint(frame[1] - width + 1)
            counts = np.bincount(sem_seg[top : top + height, left : left + width].ravel(), minlength=256)
            counts[self.ignore_label] = 0
            if np.count_nonzero(counts) > 1 and counts.max() < counts.sum() * self.max_share:
                break
        return CropTransform(left, top, width, height)


class RandomScaledCrop(T.Augmentation):
    """`scale` and then `crop`, with the same draws and, but for rounding, the same pixels as one after the other."""

    def __init__(self, scale: RandomScale, crop: CropWithin):
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        scale = self.scale.get_transform(image)
        label = scale.apply_segmentation(sem_seg)
        scaled = np.broadcast_to(np.zeros(3, np.uint8), (*label.shape, 3))  # the crop looks at its shape only
        return ScaledCrop(scale, self.crop.get_transform(scaled, label), sem_seg, label)


class ScaledCrop(Transform):
    """A resize to (new_h, new_w) followed by a crop; frames are uint8 `[H, W, 3]`."""

    def __init__(self, scale: Transform, crop: Transform, sem_seg: np.ndarray, scaled: np.ndarray):
        """`scaled` is what the resize made of the label map `sem_seg`, so that it is not made twice."""
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        if not (isinstance(self.scale, T.ResizeTransform) and isinstance(self.crop, CropTransform)):
            return self.crop.apply_image(self.scale.apply_image(img))
        return resized_window(img, self.scale, self.crop.x0, self.crop.y0, self.crop.w, self.crop.h)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        known = segmentation is self.sem_seg
        return self.crop.apply_segmentation(self.scaled if known else self.scale.apply_segmentation(segmentation))

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return self.crop.apply_coords(self.scale.apply_coords(coords))


def resized_window(
    image: np.ndarray, scale: T.ResizeTransform, left: int, top: int, width: int, height: int
) -> np.ndarray:
    """What of the resized image uint8 `[H, W, 3]` lies in a window of its pixels, `[height, width, 3]`."""
    across, down = scale.w / scale.new_w, scale.h / scale.new_h
    box = (left * across, top * down, min((left + width) * across, scale.w), min((top + height) * down, scale.h))
    return np.asarray(Image.fromarray(image).resize((width, height), scale.interp, box=box))
