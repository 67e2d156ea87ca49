"""The hardness detector: which anchors learn what, by hand, and features, sizes and gradients of the whole."""

import functools
import math
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import build_proposal_generator
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from nightlab.modeling import Segmentor
from nightlab.modeling.hardness import FEATURE, HardnessDetector, HardnessNeck, RegionRPN

from .contracts import NANO_SWIN, assert_every_parameter_learns, shake, tiny_config

ROWS, COLUMNS, STRIDE = 6, 8, 8
SIZE = (ROWS * STRIDE, COLUMNS * STRIDE)
Box = tuple[float, float, float, float]
FAR: Box = (500, 500, 516, 516)
HARD = torch.tensor([False, True, False, True, False])


def region_rpn(*opts: Any, sizes: str = "[[16]]", channels: int = 8) -> RegionRPN:
    """One anchor of 16x16 around every multiple of 8 pixels; all of them fit into a sample; the rest is background."""
    cfg = tiny_config(
        *("MODEL.RPN.IN_FEATURES", f"['{FEATURE}']", "MODEL.ANCHOR_GENERATOR.SIZES", sizes),
        *("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 1000, "MODEL.HARDNESS.BACKGROUND", True, *opts),
    )
    return build_proposal_generator(cfg, {FEATURE: ShapeSpec(channels=channels, stride=STRIDE)})


def anchor(row: int, column: int, size: int = 16) -> Box:
    x, y, half = STRIDE * column, STRIDE * row, size / 2
    return (x - half, y - half, x + half, y + half)


def truth(
    positive: list[Box] = [],  # noqa: B006
    negative: list[Box] = [],  # noqa: B006
    classes: list[int] | None = None,
    worth: list[float] | None = None,
) -> Instances:
    boxes = torch.tensor([*positive, *negative], dtype=torch.float32).view(-1, 4)
    scores = torch.tensor([*(worth or [1.0] * len(positive)), *[0.0] * len(negative)])
    instances = Instances(SIZE, gt_boxes=Boxes(boxes), gt_worth=scores)
    instances.gt_classes = torch.tensor(classes or [0] * len(boxes), dtype=torch.int64)
    return instances


def labelled(rpn: RegionRPN, gt: Instances) -> tuple[Tensor, Tensor]:
    """What to score `[ROWS, COLUMNS]` and matched boxes `[ROWS, COLUMNS, 4]`."""
    anchors = rpn.anchor_generator([torch.zeros(1, 8, ROWS, COLUMNS)])
    (label,), (boxes,) = rpn.label_and_sample_anchors(anchors, [gt])
    return label.view(ROWS, COLUMNS), boxes.view(ROWS, COLUMNS, 4)


def expected(places: dict[tuple[int, int], float], otherwise: int) -> Tensor:
    label = torch.full((ROWS, COLUMNS), float(otherwise))
    for place, value in places.items():
        label[place] = value
    return label


# An anchor's neighbours in its row or column have an IoU of 1/3 with it: between the thresholds, ignored.
AROUND = {(2, 2): -1, (2, 4): -1, (1, 3): -1, (3, 3): -1}


# --- which anchors learn what ----------------------------------------------------------------------------------------


def test_a_box_on_an_anchor() -> None:
    label, boxes = labelled(region_rpn(), truth([anchor(2, 3)]))
    assert torch.equal(label, expected({(2, 3): 1, **AROUND}, otherwise=0))
    assert boxes[2, 3].tolist() == list(anchor(2, 3))


def test_each_anchor_scores_what_its_box_is_worth() -> None:
    boxes = [anchor(2, 3), anchor(4, 6)]
    label, _ = labelled(region_rpn(), truth(boxes, worth=[0.25, 0.75]))
    around = {(row + 2, column + 3): -1 for row, column in AROUND}  # of the second: two rows and three columns on
    assert torch.equal(label, expected({**AROUND, **around, (2, 3): 0.25, (4, 6): 0.75}, otherwise=0))


@pytest.mark.parametrize("stray", [FAR, (7, 7, 7, 7), (-40, -40, -20, -20)])
def test_a_box_that_meets_no_anchor_changes_nothing(stray: Box) -> None:
    label, _ = labelled(region_rpn(), truth([stray]))
    assert torch.equal(label, expected({}, otherwise=0))
    label, boxes = labelled(region_rpn(), truth([stray, anchor(2, 3)]))
    assert torch.equal(label, expected({(2, 3): 1, **AROUND}, otherwise=0))
    assert boxes[2, 3].tolist() == list(anchor(2, 3)), "not the stray one's place in the list"


def test_the_best_anchors_of_a_small_box_are_positive() -> None:
    label, _ = labelled(region_rpn(), truth([(20, 12, 24, 16)]))  # 4x4 in the corner where four anchors meet it alike
    assert torch.equal(label, expected({(1, 2): 1, (1, 3): 1, (2, 2): 1, (2, 3): 1}, otherwise=0))


@pytest.mark.parametrize(("background", "otherwise"), [(True, 0), (False, -1)])
def test_anchors_at_half_iou_to_a_negative_box_are_background(background: bool, otherwise: int) -> None:
    rpn = region_rpn("MODEL.HARDNESS.BACKGROUND", background)
    label, _ = labelled(rpn, truth(negative=[(16, 8, 32, 16)]))  # half of each of two anchors; a sixth of others
    assert torch.equal(label, expected({(1, 3): 0, (2, 3): 0}, otherwise))


@pytest.mark.parametrize("background", [True, False])
def test_positive_wins_over_negative(background: bool) -> None:
    rpn = region_rpn("MODEL.HARDNESS.BACKGROUND", background)
    label, boxes = labelled(rpn, truth([anchor(2, 3)], [anchor(2, 3), anchor(2, 4)]))
    rest = 0 if background else -1
    assert torch.equal(label, expected({(2, 3): 1, **AROUND, (2, 4): 0}, otherwise=rest))
    assert boxes[2, 3].tolist() == list(anchor(2, 3))
    small, _ = labelled(rpn, truth([(20, 12, 24, 16)], [anchor(2, 3)]))
    assert small[2, 3] == 1, "positive as the best there is for a small box"


def test_without_negative_boxes_all_the_rest_is_background() -> None:
    rpn = region_rpn("MODEL.HARDNESS.BACKGROUND", False)
    assert torch.equal(labelled(rpn, truth([anchor(2, 3)]))[0], expected({(2, 3): 1, **AROUND}, otherwise=0))
    assert torch.equal(labelled(rpn, truth())[0], expected({}, otherwise=0))


def test_no_boxes_at_all() -> None:
    label, boxes = labelled(region_rpn(), truth())
    assert torch.equal(label, expected({}, otherwise=0)) and boxes.shape == (ROWS, COLUMNS, 4)


def test_negative_boxes_far_from_every_anchor_teach_nothing() -> None:
    rpn = region_rpn("MODEL.HARDNESS.BACKGROUND", False)
    assert torch.equal(labelled(rpn, truth(negative=[FAR]))[0], expected({}, otherwise=-1))


@pytest.mark.parametrize(
    ("gt", "background", "positives", "negatives"),
    [
        (truth([anchor(y, x) for y in (1, 4) for x in (1, 4, 7)]), True, 4, 4),  # six positive anchors
        (truth([anchor(1, 1)]), True, 1, 7),
        (truth(), True, 0, 8),
        (truth([anchor(1, 1)], [anchor(1, 4), anchor(4, 4)]), False, 1, 2),
        (truth(negative=[FAR]), False, 0, 0),
    ],
)
def test_samples(gt: Instances, background: bool, positives: int, negatives: int) -> None:
    opts = ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 8, "MODEL.RPN.POSITIVE_FRACTION", 0.5)
    label, _ = labelled(region_rpn(*opts, "MODEL.HARDNESS.BACKGROUND", background), gt)
    assert ((label == 1).sum().item(), (label == 0).sum().item()) == (positives, negatives)


def test_images_of_a_batch_are_labelled_by_their_own_boxes() -> None:
    rpn = region_rpn()
    anchors = rpn.anchor_generator([torch.zeros(2, 8, ROWS, COLUMNS)])
    first, second = truth([anchor(2, 3)]), truth(negative=[anchor(2, 3)])
    labels, boxes = rpn.label_and_sample_anchors(anchors, [first, second])
    for label, box, gt in zip(labels, boxes, (first, second), strict=True):
        assert torch.equal(label.view(ROWS, COLUMNS), labelled(rpn, gt)[0])
        assert torch.equal(box.view(ROWS, COLUMNS, 4), labelled(rpn, gt)[1])


# --- losses and proposals --------------------------------------------------------------------------------------------

CLASSES = ("MODEL.HARDNESS.CLASS_SCORES", True)


class Told(nn.Module):
    """A head that says what it is told: scores `[A * K, ROWS, COLUMNS]`, and the anchors themselves as boxes."""

    def __init__(self, scores: Tensor, anchors: int = 1):
        super().__init__()
        self.scores = scores
        self.anchors = anchors

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [self.scores[None]], [torch.zeros(1, 4 * self.anchors, ROWS, COLUMNS)]


def pass_through(rpn: RegionRPN, gt: Instances | None = None, features: Tensor | None = None) -> Any:
    """Proposals of one image, and losses."""
    features = torch.randn(1, 8, ROWS, COLUMNS) if features is None else features
    images = ImageList(torch.zeros(1, 3, *SIZE), [SIZE])
    with EventStorage():
        (proposals,), losses = rpn(images, {FEATURE: features}, None if gt is None else [gt])
    return proposals, losses


@pytest.mark.parametrize("opts", [(), CLASSES])
@pytest.mark.parametrize(
    "gt",
    [truth([anchor(2, 3)], [anchor(4, 6)], [4, 0]), truth([(14, 10, 36, 26)], classes=[2])],
    ids=["both kinds", "positive"],
)
def test_every_parameter_of_the_head_learns(opts: tuple, gt: Instances) -> None:
    rpn = region_rpn(*opts).train()
    _, losses = pass_through(rpn, gt)
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc"}
    sum(losses.values()).backward()
    assert_every_parameter_learns(rpn)


@pytest.mark.parametrize("opts", [(), CLASSES])
def test_what_is_no_number_is_left_to_the_loss(opts: tuple) -> None:
    """An error here would end one process and leave the others waiting for it."""
    rpn = region_rpn(*opts).train()
    proposals, losses = pass_through(rpn, truth([anchor(2, 3)]), torch.full((1, 8, ROWS, COLUMNS), torch.nan))
    assert len(proposals) == 0 and losses["loss_rpn_cls"].isnan()


@pytest.mark.parametrize("opts", [(), CLASSES])
@pytest.mark.parametrize("gt", [truth(), truth(negative=[anchor(2, 3)]), truth([FAR]), truth(negative=[FAR])])
def test_without_positive_anchors_losses_are_finite_and_reach_the_head(opts: tuple, gt: Instances) -> None:
    rpn = region_rpn(*opts).train()
    _, losses = pass_through(rpn, gt)
    sum(losses.values()).backward()
    assert losses["loss_rpn_loc"] == 0 and torch.isfinite(losses["loss_rpn_cls"])
    for name, parameter in rpn.named_parameters():  # DistributedDataParallel waits for each
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_losses_in_training_only() -> None:
    for rpn in (region_rpn(), region_rpn(*CLASSES)):
        assert pass_through(rpn.eval(), truth([anchor(2, 3)]))[1] == {}
        with pytest.raises(AssertionError, match="gt_instances"):
            pass_through(rpn.train())


def test_class_losses_by_hand() -> None:
    """Of 5 classes at 48 anchors, 4 of which are ignored."""
    gt = truth([FAR, anchor(2, 3)], [anchor(5, 7)], [1, 4, 0])
    for wrong in (None, (1, 2, 3), (2, 2, 3), (4, 0, 0)):
        scores = torch.full((5, ROWS, COLUMNS), -30.0)
        scores[4, 2, 3] = 30
        if wrong:
            scores[wrong] = 30
        rpn = region_rpn(*CLASSES).train()
        rpn.rpn_head = Told(scores)
        losses = pass_through(rpn, gt)[1]
        assert losses["loss_rpn_cls"].item() == pytest.approx(30 / 1000 if wrong else 0, abs=1e-6)
        assert losses["loss_rpn_loc"] == 0, "the anchors are the boxes"
    scores = torch.zeros(5, ROWS, COLUMNS)
    rpn.rpn_head = Told(scores)
    assert pass_through(rpn, gt)[1]["loss_rpn_cls"].item() == pytest.approx(44 * 5 * math.log(2) / 1000)
    scores[:, 2, 2] = 30  # ignored
    assert pass_through(rpn, gt)[1]["loss_rpn_cls"].item() == pytest.approx(44 * 5 * math.log(2) / 1000)


def test_loss_weights_hold_for_class_scores() -> None:
    losses = []
    for weight in (1.0, 0.5):
        torch.manual_seed(0)
        rpn = region_rpn(*CLASSES, "MODEL.RPN.LOSS_WEIGHT", weight).train()
        losses.append(pass_through(rpn, truth([(14, 10, 36, 26)], classes=[2]), torch.ones(1, 8, ROWS, COLUMNS))[1])
    for name in losses[0]:
        torch.testing.assert_close(losses[1][name], losses[0][name] / 2)


def test_one_class_is_one_score() -> None:
    """With a single class, class scores are objectness."""
    found = []
    for opts in ((), CLASSES):
        rpn = region_rpn(*opts, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 1, sizes="[[16, 32]]").train()
        torch.manual_seed(1)
        shake_head(rpn)
        found.append(pass_through(rpn, truth([(14, 10, 36, 26)], [anchor(4, 6)]), torch.ones(1, 8, ROWS, COLUMNS)))
    (plain, plain_losses), (scored, scored_losses) = found
    torch.testing.assert_close(scored_losses, plain_losses)
    torch.testing.assert_close(scored.proposal_boxes.tensor, plain.proposal_boxes.tensor)
    torch.testing.assert_close(scored.objectness_logits, plain.objectness_logits)


def shake_head(rpn: RegionRPN) -> None:
    """Scores that differ and boxes that wander."""
    for parameter in rpn.rpn_head.parameters():
        nn.init.normal_(parameter, std=0.3)


def test_class_and_anchor_of_each_score() -> None:
    scores = torch.full((2 * 5, ROWS, COLUMNS), -9.0)
    scores[0 * 5 + 2, 3, 4] = 5
    scores[1 * 5 + 4, 2, 6] = 7
    rpn = region_rpn(*CLASSES, sizes="[[16, 32]]").eval()
    rpn.rpn_head = Told(scores, anchors=2)
    proposals, _ = pass_through(rpn)
    assert proposals.objectness_logits[:2].tolist() == [7, 5] and proposals.objectness_logits[2:].max() == -9
    assert proposals.pred_classes[:2].tolist() == [4, 2] and proposals.pred_classes.dtype == torch.int64
    assert proposals.proposal_boxes.tensor[:2].tolist() == [[32, 0, 64, 32], [24, 16, 40, 32]]


@pytest.mark.parametrize("opts", [(), CLASSES])
def test_proposals_are_few_sorted_and_inside(opts: tuple) -> None:
    rpn = region_rpn(*opts, "MODEL.RPN.POST_NMS_TOPK_TEST", 5, sizes="[[16, 32]]").eval()
    shake_head(rpn)
    images = ImageList(torch.zeros(2, 3, *SIZE), [(45, 61), (33, 64)])
    with EventStorage():
        found, _ = rpn(images, {FEATURE: torch.randn(2, 8, ROWS, COLUMNS)}, None)
    for proposals, (height, width) in zip(found, images.image_sizes, strict=True):
        boxes, scores = proposals.proposal_boxes.tensor, proposals.objectness_logits
        assert len(proposals) == 5 and proposals.image_size == (height, width)
        assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2)).all()
        assert (scores[:-1] >= scores[1:]).all()
        assert proposals.has("pred_classes") == bool(opts)
        assert not boxes.requires_grad


@pytest.mark.parametrize("opts", [(), CLASSES])
def test_a_few_steps_find_the_boxes(opts: tuple) -> None:
    small = ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 48, "MODEL.RPN.NMS_THRESH", 0.3, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2)
    rpn = region_rpn(*opts, *small, channels=64).train()
    features = torch.randn(1, 64, ROWS, COLUMNS)
    gt = truth([(14, 10, 36, 26), anchor(4, 6)], classes=[1, 0])
    optimizer = torch.optim.Adam(rpn.parameters(), 0.003)
    history = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = sum(pass_through(rpn, gt, features)[1].values())
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0] / 20
    proposals, _ = pass_through(rpn.eval(), None, features)
    iou, best = pairwise_iou(gt.gt_boxes, proposals[:2].proposal_boxes).max(dim=1)
    assert (iou > 0.7).all() and set(best.tolist()) == {0, 1}
    assert proposals.objectness_logits[1] > proposals.objectness_logits[2] + 1
    assert not opts or proposals.pred_classes[best].tolist() == [1, 0]


# --- what it reads ---------------------------------------------------------------------------------------------------


def test_the_posterior_and_its_entropy_are_read_by_hand() -> None:
    neck = HardnessNeck({"res3": ShapeSpec(channels=4, stride=8)}, ["res3"], channels=32, prior=2)
    neck.mix = nn.Identity()
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 1, :4, :4] = math.log(3)  # 1/4 and 3/4 in the upper left, averaged over 4x4; 1/2 and 1/2 elsewhere
    logits[:, 1, 4, 4:] = 200.0  # certain in four places of sixteen
    read = neck({"res3": torch.randn(1, 4, 2, 2)}, logits.softmax(dim=1))[0, 32:]
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    torch.testing.assert_close(read[:, 0, 0], torch.tensor([0.25, 0.75, entropy]))
    torch.testing.assert_close(read[:, 0, 1], torch.tensor([0.5, 0.5, math.log(2)]))
    torch.testing.assert_close(read[:, 1, 1], torch.tensor([0.375, 0.625, 0.75 * math.log(2)]))


@pytest.mark.parametrize("sizes", [((12, 16), (6, 8), (3, 4)), ((6, 1), (3, 1), (2, 1)), ((5, 9), (5, 9), (5, 9))])
def test_features_come_to_the_middle_ones_size(sizes: tuple) -> None:
    names = ("res3", "res4", "res5")
    shapes = {name: ShapeSpec(channels=4 + i, stride=8 << i) for i, name in enumerate(names)}
    neck = HardnessNeck(shapes, names, channels=32, prior=0)
    features = {name: torch.randn(2, 4 + i, *size) for i, (name, size) in enumerate(zip(names, sizes, strict=True))}
    assert neck(features, None).shape == (2, 32, *sizes[1])
    assert (neck.shape.channels, neck.shape.stride) == (32, 16)


DETECTOR = (
    *("MODEL.HARDNESS.LABELS", "rdn", "MODEL.HARDNESS.CONVS_DIM", 64),
    *("MODEL.ANCHOR_GENERATOR.SIZES", "[[16, 32]]"),
)
RESNET = (
    *("MODEL.HARDNESS.TIMM.NAME", "resnet10t", "MODEL.HARDNESS.TIMM.OUT_NORM", ""),
    *("MODEL.HARDNESS.TIMM.OUT_INDICES", "[1, 2, 3, 4]"),
)
OWN = ("MODEL.HARDNESS.FEATURES", "own", "MODEL.HARDNESS.TIMM.DROP_PATH_RATE", 0.0)
KINDS = {
    "shared": (),
    "classes": ("MODEL.HARDNESS.CLASS_SCORES", True),
    "doubt": ("MODEL.HARDNESS.DOUBT", True),
    "doubt and classes": ("MODEL.HARDNESS.DOUBT", True, "MODEL.HARDNESS.CLASS_SCORES", True),
    "own resnet": OWN + RESNET,
    "own swin": OWN,
}
with_every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def configured(kind: tuple) -> CfgNode:
    cfg = tiny_config(*DETECTOR, *kind)
    if kind == OWN:
        cfg.MODEL.HARDNESS.TIMM.OUT_INDICES = NANO_SWIN["out_indices"]
        cfg.MODEL.HARDNESS.TIMM.ARGS.update(NANO_SWIN["args"])
    return cfg


@functools.cache
def pair(kind: tuple) -> tuple[Segmentor, HardnessDetector]:
    """An image level and a detector on it; shaken, so that residual branches, which timm starts at zero, count."""
    torch.manual_seed(0)
    cfg = configured(kind)
    image_level = Segmentor(cfg)
    detector = HardnessDetector(cfg, image_level.backbone.output_shape())
    shake(image_level)
    shake(detector)
    shake_head(detector.rpn)
    return image_level, detector


def detect(
    image_level: Segmentor, detector: HardnessDetector, images: Tensor, gt: list[Instances] | None = None
) -> Any:
    output = image_level.eval()(images)
    with EventStorage():
        return detector(output.image, output.features, output.logits, tuple(images.shape[-2:]), HARD, gt)


@with_every_kind
def test_any_size(kind: tuple) -> None:
    image_level, detector = pair(kind)
    for height, width in ((45, 61), (64, 64), (33, 7), (1, 1)):
        with torch.no_grad():
            found, losses = detect(image_level, detector.eval(), 255 * torch.rand(2, 3, height, width))
        assert losses == {} and len(found) == 2
        for proposals in found:
            boxes = proposals.proposal_boxes.tensor
            assert proposals.image_size == (height, width) and len(boxes) <= 100
            assert (boxes >= 0).all() and (boxes <= torch.tensor([width, height] * 2)).all()
            assert torch.isfinite(proposals.objectness_logits).all()


@with_every_kind
def test_no_gradient_reaches_the_image_level(kind: tuple) -> None:
    image_level, detector = pair(kind)
    detector.zero_grad()
    losses = detect(image_level, detector.train(), 255 * torch.rand(1, 3, 45, 61), [truth([(8, 8, 32, 30)])])[1]
    sum(losses.values()).backward()
    assert all(parameter.grad is None for parameter in image_level.parameters())
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, f"{name}: DistributedDataParallel would wait"
    learning = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad.abs().max() > 0]
    assert {"neck", "rpn"} | ({"backbone"} if kind[:2] == OWN[:2] else set()) == {n.split(".")[0] for n in learning}


def test_a_score_begins_as_the_doubt_inside_of_its_anchor() -> None:
    """The sum over an anchor, counted in pixels of the seen image one by one; none in the padding."""
    image_level, detector = pair(KINDS["doubt"])
    detector.eval()
    images = 255 * torch.rand(1, 3, 45, 61)
    with torch.no_grad():
        output = image_level.eval()(images)
        before, _ = detect(image_level, detector, images)
        detector.begin_with_doubt()
        feature = detector.feature(output.image, output.features, output.logits, (45, 61), HARD)
        (scores,), _ = detector.rpn.rpn_head([feature])
        after, _ = detect(image_level, detector, images)
    assert not torch.equal(before[0].objectness_logits, after[0].objectness_logits)
    probability = output.logits.softmax(dim=1)[0, HARD]
    stride = output.image.shape[-1] // probability.shape[-1]
    doubt = (probability * (1 - probability)).sum(dim=0).repeat_interleave(stride, 0).repeat_interleave(stride, 1)
    doubt[45:], doubt[:, 61:] = 0, 0
    (anchors,) = detector.rpn.anchor_generator([feature])
    sizes = (anchors.tensor[:, 2:] - anchors.tensor[:, :2]).prod(dim=1)
    found = scores.permute(0, 2, 3, 1).flatten()
    y, x = torch.arange(doubt.shape[0]), torch.arange(doubt.shape[1])
    for box, score in zip(anchors.tensor, found, strict=True):
        rows = (torch.minimum(y + 1, box[3]) - torch.maximum(y, box[1])).clamp(0, 1)
        columns = (torch.minimum(x + 1, box[2]) - torch.maximum(x, box[0])).clamp(0, 1)
        inside = rows @ doubt @ columns
        assert score == pytest.approx(math.log(inside / sizes.min() + 0.01), abs=1e-4)


def test_an_own_backbone_reads_the_image_and_nothing_else() -> None:
    image_level, detector = pair(KINDS["own resnet"])
    images = 255 * torch.rand(1, 3, 45, 61)
    with torch.no_grad():
        (expected,), _ = detect(image_level, detector.eval(), images)
        (found,), _ = detector(image_level(images).image, {}, torch.zeros(0), (45, 61), HARD)
        (other,), _ = detect(image_level, detector, images.flip(-1))
    assert torch.equal(found.objectness_logits, expected.objectness_logits)
    assert not torch.equal(other.objectness_logits, expected.objectness_logits)
    assert detector.neck.prior == 0


def test_an_own_backbone_is_the_configured_one() -> None:
    (_, resnet), (image_level, swin) = pair(KINDS["own resnet"]), pair(KINDS["own swin"])
    assert resnet.backbone.output_shape() == image_level.backbone.output_shape()
    assert [shape.channels for shape in swin.backbone.output_shape().values()] == [8, 16, 32, 64]


def test_shared_features_bring_the_posterior() -> None:
    image_level, detector = pair(KINDS["shared"])
    output = image_level.eval()(255 * torch.rand(1, 3, 48, 64))
    scores = []
    for logits in (output.logits, 5 * torch.randn_like(output.logits)):
        with torch.no_grad():
            (found,), _ = detector.eval()(output.image, output.features, logits, (48, 64), HARD)
        scores.append(found.objectness_logits)
    assert detector.backbone is None and not torch.equal(*scores)


@with_every_kind
def test_state_survives_saving(kind: tuple, tmp_path: Any) -> None:
    image_level, detector = pair(kind)
    torch.save(detector.state_dict(), tmp_path / "detector.pth")
    torch.manual_seed(7)
    other = HardnessDetector(configured(kind), image_level.backbone.output_shape())
    other.load_state_dict(torch.load(tmp_path / "detector.pth", weights_only=True))
    images = 255 * torch.rand(1, 3, 45, 61)
    with torch.no_grad():
        (expected,), _ = detect(image_level, detector.eval(), images)
        (found,), _ = detect(image_level, other.eval(), images)
    assert torch.equal(found.proposal_boxes.tensor, expected.proposal_boxes.tensor)
    assert torch.equal(found.objectness_logits, expected.objectness_logits)
