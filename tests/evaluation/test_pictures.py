"""Which images are shown, in which order, and what is left in the folder."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from nightlab.evaluation.pictures import ranking, spread, write_image, write_pictures


class Brightness(torch.nn.Module):
    """Segments the made data set by its rule, that brightness is the class; notes how it was called."""

    def forward(self, batch):
        assert not self.training and not torch.is_grad_enabled()
        classes = (batch[0]["image"][0] // 80).long()
        return [{"sem_seg": torch.nn.functional.one_hot(classes, 3).permute(2, 0, 1).float()}]


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
    ids, scores = ranking(path)
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


def test_image_ids_with_folders_make_flat_file_names(tmp_path):
    from nightlab.evaluation.pictures import _plain

    assert _plain("seq 1/frame:7") == "seq_1_frame_7"
    assert len(_plain("x" * 500)) == 100
