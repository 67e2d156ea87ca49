"""Which images are shown, in which order, and what is left in the folder."""

import json

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from nightlab.evaluation.pictures import (
    extremes,
    named_regions,
    picture_name,
    ranking,
    ranking_by_gain,
    spread,
    write_image,
    write_pictures,
)


class Brightness(torch.nn.Module):
    """Segments the made data set by its rule, that brightness is the class; notes how it was called."""

    def forward(self, batch):
        assert not self.training and not torch.is_grad_enabled()
        classes = (batch[0]["image"][0] // 80).long()
        return [{"sem_seg": torch.nn.functional.one_hot(classes, 3).permute(2, 0, 1).float()}]


class BothLevels(Brightness):
    """As above, but merged from an image level that sees the first class alone, in two regions."""

    def forward(self, batch):
        merged = super().forward(batch)[0]["sem_seg"]
        image_level = torch.zeros_like(merged)
        image_level[0] = 1
        regions = Instances(merged.shape[-2:], pred_boxes=Boxes([[0, 0, 20, 20], [40, 8, 60, 28]]))
        regions.scores = torch.tensor([0.9, 0.25])
        return [{"sem_seg": merged, "sem_seg_image_level": image_level, "regions": regions}]


def counts(*shares):
    """Per image [3, 2]: of ten labelled pixels of class 0, this many are right; class 1 is absent."""
    return np.array([[[right, 0], [10 * (right >= 0), 0], [right, 0]] for right in shares])


@pytest.fixture
def evaluation(tmp_path):
    path = tmp_path / "evaluation" / "tiny_train" / "best.json"
    path.parent.mkdir(parents=True)
    np.savez(path.with_name("best_per_image.npz"), image_ids=["a0", "a1", "a2", "a3"], sem_seg=counts(2, 9, 5, 7))
    described = {"dataset": "tiny_train", "kind": "best", "checkpoint": "model_best.pth", "iteration": 3}
    path.write_text(json.dumps(described | {"per_image": "best_per_image.npz"}))
    return path


def test_ranking_is_best_first_and_leaves_out_unlabelled_images(tmp_path):
    path = tmp_path / "counts.npz"
    blank = np.zeros((1, 3, 2), int)
    np.savez(path, image_ids=["a", "b", "blank", "c"], sem_seg=np.concatenate([counts(3, 8), blank, counts(8)]))
    ids, scores, _ = ranking(path)
    assert ids == ["b", "c", "a"], "equal ones keep their order"
    assert scores == pytest.approx([0.8, 0.8, 0.3])


@pytest.mark.parametrize(
    "total, number, places",
    [(0, 5, []), (5, 0, []), (1, 3, [0]), (3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (200, 1, [0]), (100, 2, [0, 99])],
)
def test_places_are_spread_from_best_to_worst(total, number, places):
    assert spread(total, number) == places


def test_pictures_by_rank_with_an_index(tiny_card, nano_cfg, tmp_path, evaluation):
    nano_cfg.OUTPUT_DIR, nano_cfg.TEST.PICTURES = str(tmp_path), 3
    files = write_pictures(nano_cfg, Brightness().train(), "tiny_train", evaluation)
    folder = tmp_path / "pictures" / "tiny_train"
    assert [file.name for file in files] == ["1_a1.png", "3_a2.png", "4_a0.png"]
    assert sorted(path.name for path in folder.iterdir()) == [*(file.name for file in files), "index.json"]
    index = json.loads((folder / "index.json").read_text())
    assert index["checkpoint"] == "model_best.pth" and index["ranked"] == 4
    assert index["pictures"][1] == {"file": "3_a2.png", "image_id": "a2", "rank": 3, "mIoU": 50.0}
    assert np.asarray(Image.open(files[0])).shape[2] == 3


def test_ranking_by_gain_is_the_largest_gain_first(tmp_path):
    path, blank = tmp_path / "counts.npz", np.zeros((1, 3, 2), int)
    after = np.concatenate([counts(3, 8), blank, counts(8)])
    before = np.concatenate([counts(5, 2), blank, counts(8)])
    np.savez(path, image_ids=["a", "b", "blank", "c"], sem_seg=after, sem_seg_image_level=before)
    ranked = ranking_by_gain(path)
    assert ranked.ids == ["b", "c", "a"]
    assert ranked.gains == pytest.approx([0.6, 0, -0.2]) and ranked.before == pytest.approx([0.2, 0.8, 0.5])


@pytest.mark.parametrize("levels", [{}, {"sem_seg_image_level": counts(3, 8)}])
def test_one_level_or_no_change_has_no_ranking_by_gain(tmp_path, levels):
    np.savez(tmp_path / "counts.npz", image_ids=["a", "b"], sem_seg=counts(3, 8), **levels)
    assert ranking_by_gain(tmp_path / "counts.npz") is None


@pytest.mark.parametrize(
    "gains, number, places",
    [
        ([3, 2, 1, -1, -2], 4, [0, 1, 3, 4]),
        ([3, 2, 1, -1, -2], 3, [0, 1, 4]),
        ([3, 2, 1, -1], 4, [0, 1, 2, 3]),
        ([3, 0, 0, -1], 4, [0, 3]),
        ([-1, -2, -3], 2, [1, 2]),
        ([5, 4, 3, 0], 2, [0, 1]),
        ([3, -3], 0, []),
        ([], 2, []),
    ],
)
def test_extremes_are_the_largest_gains_and_losses(gains, number, places):
    assert extremes(np.array(gains, float), number) == places


def test_pictures_of_both_levels_by_gain(tiny_card, nano_cfg, tmp_path, evaluation):
    nano_cfg.OUTPUT_DIR, nano_cfg.TEST.PICTURES = str(tmp_path), 2
    levels = {"sem_seg": counts(2, 9, 5, 7), "sem_seg_image_level": counts(4, 9, 6, 1)}
    np.savez(evaluation.with_name("best_per_image.npz"), image_ids=["a0", "a1", "a2", "a3"], **levels)
    files = write_pictures(nano_cfg, BothLevels(), "tiny_train", evaluation)
    assert [file.name for file in files] == ["1_a3.png", "4_a0.png"], "the largest gain and the largest loss"
    index = json.loads((files[0].parent / "index.json").read_text())
    assert index["ranked_by"] == "gain" and index["ranked"] == 4
    first = {"file": "1_a3.png", "image_id": "a3", "rank": 1, "mIoU": 70.0, "mIoU_image_level": 10.0}
    assert index["pictures"][0] == first
    height, width, _ = np.asarray(Image.open(files[0])).shape
    assert height > 3 * 280 and width > 1000, "three rows of tiles, and crops below"


def test_regions_are_named_by_score_and_class():
    found = Instances((9, 9), pred_boxes=Boxes([[0, 1, 2, 3]]), scores=torch.tensor([0.256]))
    regions = named_regions(found, ["road", "pole"])
    assert regions.boxes.tolist() == [[0, 1, 2, 3]] and regions.names == ["0.26"]
    found.pred_classes = torch.tensor([1])
    assert named_regions(found, ["road", "pole"]).names == ["pole 0.26"]


def test_the_model_is_left_in_its_mode(tiny_card, nano_cfg, tmp_path, evaluation):
    nano_cfg.OUTPUT_DIR, nano_cfg.TEST.PICTURES = str(tmp_path), 1
    model = Brightness().train()
    write_pictures(nano_cfg, model, "tiny_train", evaluation)
    assert model.training


def test_pictures_of_an_earlier_evaluation_go(tiny_card, nano_cfg, tmp_path, evaluation):
    nano_cfg.OUTPUT_DIR, nano_cfg.TEST.PICTURES = str(tmp_path), 1
    folder = tmp_path / "pictures" / "tiny_train"
    folder.mkdir(parents=True)
    (folder / "2_old.png").write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    write_pictures(nano_cfg, Brightness(), "tiny_train", evaluation)
    assert sorted(path.name for path in folder.iterdir()) == ["1_a1.png", "index.json", "notes.txt"]


def test_a_failed_write_leaves_the_earlier_picture(tmp_path):
    path = tmp_path / "picture.png"
    write_image(path, np.zeros((2, 2, 3), np.uint8))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_image(path, np.zeros((2, 2, 7), np.uint8))
    assert path.read_bytes() == before


def test_image_ids_with_folders_make_flat_file_names():
    assert picture_name("seq 1/frame:7") == "seq_1_frame_7.png"
    assert len(picture_name("x" * 500)) == 104
