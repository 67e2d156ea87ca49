"""Day and night crops without labels: a function of their key, of the right size, from anywhere in the set."""

import numpy as np
import pytest
import torch

from nightlab.data import catalog
from nightlab.data.region_mapper import RegionMapper
from nightlab.data.stage_data import StageData
from nightlab.data.unpaired import UnpairedCrops
from nightlab.errors import InputError
from nightlab.modeling.regions import RegionRule


class Source:
    """Images of one colour each, 40x60, the red channel counting the columns; a pole in columns 50 to 52."""

    classes = ("road", "pole")

    def read_image(self, record):
        image = np.full((40, 60, 3), record["colour"], np.uint8)
        image[..., 0] = np.arange(60)
        return image

    def read_label(self, record):
        label = np.zeros((40, 60), np.int64)
        label[5:35, 50:53] = 1
        return label


RECORDS = [{"source": Source(), "colour": colour} for colour in (50, 100, 150)]


@pytest.mark.parametrize("options", [{"scale_range": (0.5, 2.0)}, {"rule": RegionRule((24, 32), 1.0, 1.5, 3.0)}, {}])
def test_crops_follow_from_their_key(options):
    crops = UnpairedCrops(RECORDS, crop_size=(16, 24), **options)
    assert crops((1, 0, 5, 2)).shape == (3, 16, 24) and crops((1, 0, 5, 2)).dtype == torch.uint8
    assert torch.equal(crops((1, 0, 5, 2)), crops((1, 0, 5, 2)))
    drawn = [crops((1, 0, i, 0)) for i in range(20)]
    assert {int(crop[1].float().mean().round()) for crop in drawn} == {50, 100, 150}
    assert len({tuple(crop[0, 0].tolist()) for crop in drawn}) > 5, "other places, mirrored or not"


def test_the_file_of_a_crop():
    records = [{**record, "file_name": f"{record['colour']}.png"} for record in RECORDS]
    crops = UnpairedCrops(records, crop_size=(16, 24), set_number=1)
    for i in range(10):
        colour = int(crops((1, 0, i, 2))[1].float().mean().round())
        assert crops.file_name((1, 0, i, 2)) == f"{colour}.png"


def test_two_sets_are_drawn_apart():
    day, night = (UnpairedCrops(RECORDS, crop_size=(16, 24), set_number=n) for n in (0, 1))
    assert any(not torch.equal(day((1, 0, i, 0)), night((1, 0, i, 0))) for i in range(5))


def test_a_frame_smaller_than_the_crop_is_repeated_at_its_border():
    crop = UnpairedCrops(RECORDS, crop_size=(64, 80))((1, 0, 0, 0))
    assert crop.shape == (3, 64, 80) and crop[1].float().std() == 0


def test_unscaled_crops_are_pixels_of_the_frame():
    crop = UnpairedCrops(RECORDS, crop_size=(16, 24))((1, 0, 3, 0))
    assert (crop[0, 0].int().diff().abs() == 1).all()


def around_poles(records, classes):
    regions = RegionMapper(
        hard=[False, True],
        rule=RegionRule((16, 16), min_zoom=2, max_zoom=2),
        context_range=(2, 2),
        shift=0.0,
        random_share=0.0,
        min_area=1,
        merge_distance=1,
        flip=False,
        photometric=False,
    )
    crops = UnpairedCrops(records, crop_size=(16, 16), rule=regions.rule, regions=regions, classes=classes)
    return [set(crops((1, 0, i, 0))[0].flatten().tolist()) for i in range(12)]


def test_labelled_images_give_crops_around_their_hard_regions():
    assert all(50 in columns for columns in around_poles(RECORDS, ("road", "pole")))


def test_labels_in_other_classes_are_not_read():
    assert not all(50 in columns for columns in around_poles(RECORDS, ("other", "drivable area")))


def test_images_without_labels_give_crops_of_any_place():
    class Unlabelled(Source):
        labels = ""

        def read_label(self, record):
            raise AssertionError("it has none")

    records = [{"source": Unlabelled(), "colour": 50}]
    assert not all(50 in columns for columns in around_poles(records, ("road", "pole")))


def test_an_image_whose_label_file_is_missing_gives_crops_of_any_place(tiny_card, tiny_root):
    (tiny_root / "labels" / "b0.png").unlink()
    (tiny_root / "labels" / "b1.png").unlink()
    records = catalog.load("tiny_val", require_labels=False)
    assert len(around_poles(records, ("dark", "grey", "bright"))) == 12


def test_a_label_map_of_another_size_is_refused_as_in_training():
    class Small(Source):
        def read_image(self, record):
            return super().read_image(record)[:20, :30]

    records = [{"source": Small(), "colour": 50, "file_name": "small.png"}]
    with pytest.raises(InputError, match=r"small\.png: the label map has 60x40 pixels .* has 30x20"):
        around_poles(records, ("road", "pole"))


def test_night_is_seen_in_its_own_colours(tiny_card, nano_cfg):
    """A discriminator would tell the distorted colours of a training batch from those of a day crop."""
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.VAL = ("tiny_train",), ("tiny_test",)
    nano_cfg.DATASETS.DAY, nano_cfg.INPUT.CROP_SIZE = ("tiny_val",), [40, 72]
    nano_cfg.INPUT.SCALE_RANGE, nano_cfg.MODEL.NIGHTLAB.STAGE = [1.0, 1.0], "light"

    def item():
        return StageData(nano_cfg, None).loader(learns_light=True).dataset[0, 0]

    frames = [r["source"].read_image(r).transpose(2, 0, 1) for r in catalog.load("tiny_train")]
    frames += [frame[..., ::-1] for frame in frames]
    seen = item()
    assert not any(np.array_equal(seen["image"], frame) for frame in frames)
    assert any(np.array_equal(seen["night"], frame) for frame in frames)
    nano_cfg.INPUT.PHOTOMETRIC = False
    assert "night" not in (seen := item()) and any(np.array_equal(seen["image"], frame) for frame in frames)
    nano_cfg.DATASETS.NIGHT = ("tiny_test",)
    assert "night" in item()
