"""Fixed shapes say what the model says: against the functions of modeling/ and detectron2, which choose by values."""

import pytest
import torch
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals

from nightlab.export import fixed
from nightlab.export.fixed import Scored
from nightlab.modeling import merge
from nightlab.modeling.regions import RegionRule, choose

FRAME = (60, 90)


def random_boxes(number, low=-10.0):
    corner = torch.rand(number, 2) * torch.tensor([90.0, 60.0]) + low
    return torch.cat([corner, corner + torch.rand(number, 2) * 50], dim=1)


def all_real(boxes, scores):
    return Scored(boxes, scores, torch.ones(len(boxes), dtype=torch.bool))


@pytest.mark.parametrize("number", [3, 12, 60])
def test_best_is_choose(number):
    boxes, scores = random_boxes(40), torch.rand(40)
    found = fixed.best(all_real(boxes, scores), number, 0.4)
    expected = choose(boxes, scores, max_regions=number, nms_thresh=0.4)
    assert len(found.real) == number and int(found.real.sum()) == len(expected)
    assert torch.equal(found.boxes[found.real], boxes[expected])
    assert torch.equal(found.scores[found.real], scores[expected])


def test_best_of_nothing():
    boxes = random_boxes(5)
    found = fixed.best(Scored(boxes, torch.rand(5), torch.zeros(5, dtype=torch.bool)), 3, 0.5)
    assert not found.real.any() and found.boxes.shape == (3, 4)


@pytest.mark.parametrize("number", [1, 3])
def test_best_of_boxes_that_all_overlap(number):
    """A graph of torch.export takes it for granted that NMS keeps two or more."""

    class Best(torch.nn.Module):
        def forward(self, boxes, scores):
            return tuple(fixed.best(all_real(boxes, scores), number, 0.5))

    boxes, scores = torch.tensor([[0.0, 0, 10, 10]]).repeat(4, 1), torch.tensor([0.1, 0.4, 0.3, 0.2])
    kept, score, real = torch.export.export(Best(), (boxes, scores)).module()(boxes, scores)
    assert real.tolist() == [True, False, False][:number]
    assert kept[0].tolist() == [0, 0, 10, 10] and score[0] == scores[1]


def test_proposals_are_detectron2s():
    boxes, scores = random_boxes(80), torch.randn(80)
    boxes[3, 2] = torch.nan
    boxes[5] = torch.tensor([95.0, 10, 120, 20])  # empty once clipped
    scores[[3, 5]] = 9.0
    found = fixed.proposals(boxes, scores, FRAME, before=50, after=20, nms_thresh=0.5, min_size=0.0)
    (expected,) = find_top_rpn_proposals([boxes[None]], [scores[None]], [FRAME], 0.5, 50, 20, 0.0, False)
    assert torch.equal(found.boxes[found.real], expected.proposal_boxes.tensor)
    assert torch.equal(found.scores[found.real], expected.objectness_logits)


@pytest.mark.parametrize("context", [1.0, 2.5])
def test_regions_are_the_rules(context):
    rule = RegionRule((32, 48), context, 1.5, 3.0)
    boxes = random_boxes(20)
    boxes[0] = torch.tensor([0.0, 0, 90, 60])  # six tiles
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, 90)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, 60)
    scores = torch.rand(20)
    found = fixed.regions(rule, all_real(boxes, scores), FRAME)
    expected, source = rule.regions(boxes, FRAME)
    assert torch.equal(found.boxes[found.real], expected) and torch.equal(found.scores[found.real], scores[source])


@pytest.mark.parametrize("size", [FRAME, (9, 200), (20, 20)])
def test_paste_is_pastes(size):
    rule = RegionRule((32, 48), 1.0, 1.5, 3.0)
    boxes = rule.regions(random_boxes(6) * torch.tensor([size[1] / 90, size[0] / 60] * 2), size)[0][:6]
    logits = 3 * torch.randn(len(boxes), 4, 8, 12)
    real = torch.ones(len(boxes), dtype=torch.bool)
    real[2] = False
    pasted = fixed.paste(logits, Scored(boxes, torch.rand(len(boxes)), real), size, (22, 32))
    expected = merge.paste(logits[real], boxes[real], size)
    assert torch.equal(pasted.covered, expected.covered)
    assert torch.allclose(pasted.probability, expected.probability, atol=1e-5)
