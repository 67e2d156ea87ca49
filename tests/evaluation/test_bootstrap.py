"""Tests of the bootstrap intervals over images, and of the command that compares evaluations."""

import numpy as np
import pytest
import torch

from nightlab.errors import InputError
from nightlab.evaluation.bootstrap import interval_of_mean, load_counts
from nightlab.evaluation.evaluator import NightLabEvaluator

CLASSES = ("road", "car")


def counts(true_positives, labelled, predicted):
    """Per-image counts [N, 3, 1] of a single class."""
    return np.stack([true_positives, labelled, predicted], axis=-1)[..., None]


def test_equal_images_give_an_interval_of_no_width():
    interval = interval_of_mean([counts([5, 5, 5], [10, 10, 10], [5, 5, 5])])
    assert interval == pytest.approx((50, 50, 50))


def test_the_interval_covers_the_figure_and_widens_with_the_spread():
    rng = np.random.default_rng(0)
    hits = rng.integers(0, 100, 200)
    narrow = interval_of_mean([counts(hits, np.full(200, 100), hits)])
    wide = interval_of_mean([counts(hits[:20], np.full(20, 100), hits[:20])])
    assert narrow.low < narrow.value < narrow.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_difference_pairs_the_images():
    rng = np.random.default_rng(0)
    hits = rng.integers(10, 90, 60)
    better, worse = (counts(hits + d, np.full(60, 100), hits + d) for d in (2, 0))
    difference = interval_of_mean([better], [worse])
    assert difference.value == pytest.approx(2, abs=1e-6)
    assert difference.high - difference.low < 0.1, "paired: the spread between images cancels"
    assert interval_of_mean([worse], [worse]) == pytest.approx((0, 0, 0))


def test_seeds_are_averaged():
    a, b = counts([4], [10], [4]), counts([8], [10], [8])
    assert interval_of_mean([a, b]).value == pytest.approx(60)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="different images"):
        interval_of_mean([counts([1], [2], [1])], [counts([1, 1], [2, 2], [1, 1])])


@pytest.fixture
def compare(load_tool):
    return load_tool("compare")


def evaluation(folder, ids=("x", "y"), wrong=0):
    evaluator = NightLabEvaluator("d", CLASSES, [False, True], output=folder / "best.json", distributed=False)
    for image_id in ids:
        label = torch.tensor([[0, 0, 1, 1]])
        prediction = label.clone()
        prediction[0, :wrong] = 1
        scores = torch.nn.functional.one_hot(prediction, 2).permute(2, 0, 1).float()
        evaluator.process([{"sem_seg": label, "image_id": image_id}], [{"sem_seg": scores}])
    evaluator.evaluate()
    return str(folder / "best.json")


def test_compare_prints_figures_and_differences(tmp_path, compare, capsys):
    good, bad = evaluation(tmp_path / "good"), evaluation(tmp_path / "bad", wrong=1)
    assert compare.main([good, bad]) == 0
    out = capsys.readouterr().out
    assert "100.00 [100.00, 100.00]" in out and "-41.67" in out  # road 1/2, car 2/3


def test_compare_means_over_some_classes(tmp_path, compare, capsys):
    good, bad = evaluation(tmp_path / "good"), evaluation(tmp_path / "bad", wrong=1)
    assert compare.main([good, bad, "--classes", CLASSES[1]]) == 0
    out = capsys.readouterr().out
    assert f"classes {CLASSES[1]}" in out and "66.67 [66.67, 66.67]" in out and "-33.33" in out
    assert compare.main([good, bad, "--classes", "tram"]) == 2
    assert f"--classes: tram not among the classes {', '.join(CLASSES)}" in capsys.readouterr().err


def test_compare_refuses_other_images_and_other_files(tmp_path, compare, capsys):
    good, other = evaluation(tmp_path / "good"), evaluation(tmp_path / "other", ids=("x", "z"))
    assert compare.main([good, other]) == 2
    assert "other images" in capsys.readouterr().err
    (tmp_path / "junk.json").write_text("{}")
    with pytest.raises(InputError, match=r"junk\.json"):
        load_counts(tmp_path / "junk.json")
