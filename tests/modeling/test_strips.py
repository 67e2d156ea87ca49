"""Maps in strips: rows are those of the whole, labels those of the scores, and the scores are never held whole."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nightlab.evaluation.tta import NightLabWithTTA
from nightlab.modeling import NightLab, strips
from nightlab.modeling.merge import RULES
from nightlab.modeling.strips import RowMap

from .contracts import pointwise_model
from .test_dual_level import dual_level, given


@pytest.fixture(scope="module")
def model() -> NightLab:
    return dual_level()


@pytest.fixture(autouse=True)
def narrow_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of seven rows of a map of five classes and 60 columns."""
    monkeypatch.setattr(strips, "NUMBERS", 7 * 5 * 60)


@pytest.mark.parametrize("size", [(48, 76), (37, 101), (12, 19), (5, 7), (1, 1), (90, 4)])
def test_strips_of_a_resized_map_are_the_resized_map(size: tuple[int, int]) -> None:
    x = torch.randn(64, 12, 19)
    resized = RowMap.of(x).resized(size)
    expected = F.interpolate(x[None], size=size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resized.whole(), expected, rtol=1e-4, atol=1e-5)
    bottom = range(size[0] - 1, size[0])
    torch.testing.assert_close(resized.read(bottom), expected[:, -1:], rtol=1e-4, atol=1e-5)
    assert len(resized.strips()) == -(-size[0] // max(2100 // (64 * size[1]), 1))


def test_enlarged_cut_and_resized_again() -> None:
    """As a frame that the image level saw at another size, padded."""
    x = torch.randn(5, 9, 13)
    seen = RowMap.of(x).resized((36, 52)).cut((34, 51))
    enlarged = F.interpolate(x[None], size=(36, 52), mode="bilinear", align_corners=False)[..., :34, :51]
    expected = F.interpolate(enlarged, size=(71, 90), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(seen.whole(), enlarged[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.resized((71, 90)).whole(), expected, rtol=1e-4, atol=1e-5)
    assert seen.cut((34, 51)) is seen and seen.resized((34, 51)) is seen


@torch.no_grad()
def both_ways(model: Any, inner: NightLab, *records: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    found = []
    for inner.return_scores in (True, False):
        found.append(model(list(records)))
    inner.return_scores = True
    return list(zip(*found, strict=True))


def assert_same(scores: Tensor, labels: Tensor, confidence: Tensor) -> None:
    assert labels.dtype == torch.uint8 and torch.equal(labels, scores.argmax(dim=0).byte())
    assert torch.equal(confidence, scores.amax(dim=0).exp())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("source", "size"), [("detector", (0, 0)), ("detector", (77, 103)), ("uncertainty", (0, 0))])
def test_labels_of_both_levels_are_those_of_the_scores(
    model: NightLab, rule: str, source: str, size: tuple[int, int]
) -> None:
    model.merge_rule, model.source, model.image_size = rule, source, size
    records = [given(45, 61, 1), given(53, 60, 2, height=91, width=119)]
    for scores, labels in both_ways(model, model, *records):
        assert not any("sem_seg" in name for name in labels)
        assert len(scores["regions"]) and torch.equal(
            scores["regions"].pred_boxes.tensor, labels["regions"].pred_boxes.tensor
        )
        for suffix in ("", "_image_level"):
            assert_same(scores[f"sem_seg{suffix}"], labels[f"labels{suffix}"], labels[f"confidence{suffix}"])
        assert not torch.equal(scores["sem_seg"], scores["sem_seg_image_level"])


def test_strips_say_what_one_strip_says(model: NightLab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for numbers in (strips.NUMBERS, 10**9):
        monkeypatch.setattr(strips, "NUMBERS", numbers)
        with torch.no_grad():
            found.append(model([given(91, 60)])[0])
    for name in ("sem_seg", "sem_seg_image_level"):
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-3, atol=1e-4)


def test_labels_in_multi_scale_testing(model: NightLab) -> None:
    for inner in (model, pointwise_model(5)):
        tested = NightLabWithTTA(inner, scales=[1.0, 1.5], flip=True)
        ((scores, labels),) = both_ways(tested, inner, given(45, 61))
        assert_same(scores["sem_seg"], labels["labels"], labels["confidence"])


class LargestTensor(TorchDispatchMode):
    """The most numbers that any operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, found.numel() if isinstance(found, Tensor) else 0)
        return found


@pytest.mark.parametrize("scores", [True, False])
def test_labels_alone_hold_no_scores_of_the_whole_frame(scores: bool) -> None:
    model = pointwise_model(19)
    model.return_scores = scores
    with LargestTensor() as largest, torch.no_grad():
        model([given(80, 120)])
    assert (largest.numbers >= 19 * 80 * 120) == scores
    assert scores or largest.numbers == 3 * 80 * 120  # the image itself
