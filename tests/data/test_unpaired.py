"""Day and night crops without labels: a function of their key, of the right size, from anywhere in the set."""

import numpy as np
import pytest
import torch

from nightlab.data.unpaired import UnpairedCrops


class Source:
    """Images of one colour each, 40x60, the red channel counting the columns."""

    def read_image(self, record):
        image = np.full((40, 60, 3), record["colour"], np.uint8)
        image[..., 0] = np.arange(60)
        return image


RECORDS = [{"source": Source(), "colour": colour} for colour in (50, 100, 150)]


@pytest.mark.parametrize("options", [{"scale_range": (0.5, 2.0)}, {"zoom_range": (1.5, 3.0)}, {}])
def test_crops_follow_from_their_key(options):
    crops = UnpairedCrops(RECORDS, crop_size=(16, 24), **options)
    assert crops((1, 0, 5, 2)).shape == (3, 16, 24) and crops((1, 0, 5, 2)).dtype == torch.uint8
    assert torch.equal(crops((1, 0, 5, 2)), crops((1, 0, 5, 2)))
    drawn = [crops((1, 0, i, 0)) for i in range(20)]
    assert {int(crop[1].float().mean().round()) for crop in drawn} == {50, 100, 150}
    assert len({tuple(crop[0, 0].tolist()) for crop in drawn}) > 5, "other places, mirrored or not"


def test_two_sets_are_drawn_apart():
    day, night = (UnpairedCrops(RECORDS, crop_size=(16, 24), set_number=n) for n in (0, 1))
    assert any(not torch.equal(day((1, 0, i, 0)), night((1, 0, i, 0))) for i in range(5))


def test_a_frame_smaller_than_the_crop_is_repeated_at_its_border():
    crop = UnpairedCrops(RECORDS, crop_size=(64, 80))((1, 0, 0, 0))
    assert crop.shape == (3, 64, 80) and crop[1].float().std() == 0


def test_unscaled_crops_are_pixels_of_the_frame():
    crop = UnpairedCrops(RECORDS, crop_size=(16, 24))((1, 0, 3, 0))
    assert (crop[0, 0].int().diff().abs() == 1).all()
