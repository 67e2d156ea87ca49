"""Whose checkpoint it is, told by its keys: all that NightLab knows, and the rules of those with a Swin."""

import re
from collections.abc import Callable, Collection

from nightlab.errors import InputError
from nightlab.importing.deeplab import DEEP_STEM, PLAIN_STEM, deeplab_rules
from nightlab.importing.rules import Rule, Source


def _next_stage(match: re.Match[str]) -> str:
    """timm merges patches at the beginning of a stage; everyone else does at the end of the one before."""
    return f"backbone.body.layers_{int(match[1]) + 1}.downsample.{match[2]}"


TABLE = "attn.relative_position_bias_table"
COMPUTED = Rule(r".*\.(relative_position_index|attn_mask)", "", note="computed from the shape")


def _blocks(prefix: str) -> tuple[Rule, ...]:
    """Swin's blocks as its authors and timm name them; `prefix` ends in the stage's number as group 1."""
    block, target = prefix + r"\.blocks\.(\d+)\.", r"backbone.body.layers_\1.blocks.\2."
    return (
        COMPUTED,
        Rule(block + r"attn\.relative_position_bias_table", target + TABLE),
        Rule(block + r"(attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2|norm1|norm2)\.(weight|bias)", target + r"\3.\4"),
    )


def _embedding(prefix: str, projection: str) -> tuple[Rule, ...]:
    return (
        Rule(prefix + projection + r"\.(weight|bias)", r"backbone.body.patch_embed.proj.\1"),
        Rule(prefix + r"patch_embed\.norm\.(weight|bias)", r"backbone.body.patch_embed.norm.\1"),
    )


def _merging(stage: str, reduction: str = "") -> tuple[Rule, ...]:
    return (
        Rule(stage + r"\.downsample\.(reduction\.weight)", _next_stage, reduction),
        Rule(stage + r"\.downsample\.(norm\.(?:weight|bias))", _next_stage, reduction),
    )


def _heads(norm: str, classifier: str) -> tuple[Rule, ...]:
    """UPerNet and FCN head as mmsegmentation names them; transformers' differ in two names."""

    def unit(theirs: str, ours: str) -> tuple[Rule, ...]:
        """A convolution with its norm: `conv` and `bn` there, 0 and 1 here."""
        return (
            Rule(theirs + r"\.conv\.(?P<last>weight|bias)", ours + r".0.\g<last>"),
            Rule(theirs + rf"\.{norm}\.(?P<last>\w+)", ours + r".1.\g<last>"),
        )

    return (
        Rule(rf"decode_head\.{classifier}\.(weight|bias)", r"decode_head.classifier.\1", "classifier"),
        Rule(rf"auxiliary_head\.{classifier}\.(weight|bias)", r"aux_head.classifier.\1", "classifier"),
        *unit(r"decode_head\.psp_modules\.(\d)\.1", r"decode_head.pooling.branches.\1"),
        *unit(r"decode_head\.lateral_convs\.(\d)", r"decode_head.laterals.\1"),
        *unit(r"decode_head\.fpn_convs\.(\d)", r"decode_head.fpn.\1"),
        *unit(r"decode_head\.bottleneck", "decode_head.pooling.bottleneck"),
        *unit(r"decode_head\.fpn_bottleneck", "decode_head.fusion"),
        *unit(r"auxiliary_head\.convs\.0", "aux_head.conv"),
    )


OUTPUT_NORMS = Rule(r"backbone\.norm(\d)\.(weight|bias)", r"backbone.norms.\1.\2")
ONLY_CLASSIFYING = (
    Rule(r"norm\.(weight|bias)", "", note="stands before the classifier; NightLab norms every stage"),
    Rule(r"head\.(fc\.)?(weight|bias)", "", note="classifies whole images"),
)


def _mmseg_body(prefix: str) -> tuple[Rule, ...]:
    stage = prefix + r"stages\.(\d)"
    block, target = stage + r"\.blocks\.(\d+)\.", r"backbone.body.layers_\1.blocks.\2."
    return (
        COMPUTED,
        *_embedding(prefix, r"patch_embed\.projection"),
        Rule(block + r"attn\.w_msa\.relative_position_bias_table", target + TABLE),
        Rule(block + r"attn\.w_msa\.(qkv|proj)\.(weight|bias)", target + r"attn.\3.\4"),
        Rule(block + r"ffn\.layers\.0\.0\.(weight|bias)", target + r"mlp.fc1.\3"),
        Rule(block + r"ffn\.layers\.1\.(weight|bias)", target + r"mlp.fc2.\3"),
        Rule(block + r"(norm1|norm2)\.(weight|bias)", target + r"\3.\4"),
        *_merging(stage, "unfold"),
    )


def _transformers_body() -> tuple[Rule, ...]:
    stage = r"backbone\.(?:swin\.)?encoder\.layers\.(\d)"
    block, target = stage + r"\.blocks\.(\d+)\.", r"backbone.body.layers_\1.blocks.\2."
    embeddings = r"backbone\.(?:swin\.)?embeddings\."
    parts = (("query", "q"), ("key", "k"), ("value", "v"))
    return (
        Rule(r".*relative_position_index", "", note="computed from the shape"),
        Rule(embeddings + r"patch_embeddings\.projection\.(weight|bias)", r"backbone.body.patch_embed.proj.\1"),
        Rule(embeddings + r"norm\.(weight|bias)", r"backbone.body.patch_embed.norm.\1"),
        Rule(block + r"attention\.(?:self|relative_position_bias)\.relative_position_bias_table", target + TABLE),
        *(
            Rule(block + rf"attention\.(?:self\.{name}|{letter}_proj)\.(weight|bias)", target + r"attn.qkv.\3", name)
            for name, letter in parts
        ),
        Rule(block + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)", target + r"attn.proj.\3"),
        Rule(block + r"layernorm_before\.(weight|bias)", target + r"norm1.\3"),
        Rule(block + r"layernorm_after\.(weight|bias)", target + r"norm2.\3"),
        Rule(block + r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)", target + r"mlp.fc1.\3"),
        Rule(block + r"(?:output\.dense|mlp\.fc2)\.(weight|bias)", target + r"mlp.fc2.\3"),
        *_merging(stage),
        Rule(
            r"backbone\.hidden_states_norms\.stage(\d)\.(weight|bias)",
            lambda match: f"backbone.norms.{int(match[1]) - 1}.{match[2]}",
        ),
        Rule(r"backbone\.(?:swin\.)?layernorm\.(weight|bias)", "", note="transformers' backbone never applies it"),
    )


def _smp_rules() -> tuple[Rule, ...]:
    """Its pyramid runs from coarse to fine, ours from fine to coarse."""

    def finest_first(ours: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"decode_head.{ours}.{2 - int(match[1])}.{match[2]}"

    return (
        COMPUTED,
        Rule(r"encoder\.(?:model\.)?(.+)", r"backbone.body.\1"),
        Rule(r"decoder\.feature_norms\.(\d)\.(weight|bias)", r"backbone.norms.\1.\2"),
        Rule(r"decoder\.psp\.blocks\.(\d)\.1\.(.+)", r"decode_head.pooling.branches.\1.\2"),
        Rule(r"decoder\.psp\.out_conv\.(.+)", r"decode_head.pooling.bottleneck.\1"),
        Rule(r"decoder\.fpn_lateral_blocks\.(\d)\.conv_norm_relu\.(.+)", finest_first("laterals")),
        Rule(r"decoder\.fpn_conv_blocks\.(\d)\.(.+)", finest_first("fpn")),
        Rule(r"decoder\.fusion_block\.(.+)", r"decode_head.fusion.\1"),
        Rule(r"segmentation_head\.0\.(weight|bias)", r"decode_head.classifier.\1", "classifier"),
    )


SOURCES = (
    Source(
        "UPerNet-Swin of transformers",
        ("decode_head.classifier.weight", "backbone.hidden_states_norms.stage1.weight"),
        (*_transformers_body(), *_heads("batch_norm", "classifier")),
    ),
    Source(
        "UPerNet-Swin of mmsegmentation",
        ("decode_head.fpn_bottleneck.conv.weight", "backbone.patch_embed.projection.weight"),
        (*_mmseg_body(r"backbone\."), OUTPUT_NORMS, *_heads("bn", "conv_seg")),
    ),
    Source(
        "UPerNet-Swin of the official Swin-Transformer-Semantic-Segmentation",
        ("decode_head.fpn_bottleneck.conv.weight", "backbone.patch_embed.proj.weight"),
        (
            *_embedding(r"backbone\.", r"patch_embed\.proj"),
            *_blocks(r"backbone\.layers\.(\d)"),
            *_merging(r"backbone\.layers\.(\d)"),
            OUTPUT_NORMS,
            *_heads("bn", "conv_seg"),
        ),
    ),
    Source(
        "UPerNet of segmentation_models_pytorch",
        ("decoder.psp.out_conv.0.weight", "segmentation_head.0.weight"),
        _smp_rules(),
        windows="timm",
    ),
    Source(
        "DeepLabV3+ of detectron2",
        ("sem_seg_head.decoder.res5.project_conv.project.weight", "backbone.stem.conv3.weight"),
        deeplab_rules(DEEP_STEM),
    ),
    Source(
        "DeepLabV3+ of detectron2 on a ResNet with a plain stem",
        ("sem_seg_head.decoder.res5.project_conv.project.weight", "backbone.stem.conv1.weight"),
        deeplab_rules(PLAIN_STEM),
    ),
    Source(
        "ImageNet Swin of the official release",
        ("patch_embed.proj.weight", "layers.0.downsample.reduction.weight"),
        (
            *_embedding("", r"patch_embed\.proj"),
            *_blocks(r"layers\.(\d)"),
            *_merging(r"layers\.(\d)"),
            *ONLY_CLASSIFYING,
        ),
        segmentor=False,
    ),
    Source(
        "ImageNet Swin of timm",
        ("patch_embed.proj.weight", "layers.1.downsample.reduction.weight"),
        (
            *_embedding("", r"patch_embed\.proj"),
            *_blocks(r"layers\.(\d)"),
            Rule(r"layers\.(\d)\.(downsample\..+)", r"backbone.body.layers_\1.\2"),
            *ONLY_CLASSIFYING,
        ),
        segmentor=False,
        windows="timm",
    ),
    Source(
        "ImageNet Swin in mmsegmentation's layout",
        ("patch_embed.projection.weight", "stages.0.downsample.reduction.weight"),
        (*_mmseg_body(""), *ONLY_CLASSIFYING),
        segmentor=False,
    ),
)

# Known, and of no use here: what they are, and what to do.
REFUSED = (
    (r"sem_seg_head\..*\.depthwise\..*", "has depthwise separable convolutions, which NightLab's DeepLabV3+ has not"),
    (r"sem_seg_head\.aspp\..*", "is a DeepLabV3 of detectron2, without the decoder that DeepLabV3+ has"),
    (r"(image_level\.)?backbone\.body\..*", "is a NightLab checkpoint already; give it as MODEL.WEIGHTS"),
    (r".*\.cpb_mlp\..*", "is a Swin V2, whose attention differs from the Swin that NightLab imports"),
)


def recognise(keys: Collection[str], where: str) -> Source:
    """The first source whose telling keys are all among `keys`.

    Raises:
        InputError: there is none; `where` is the file that the message names.
    """
    for pattern, reason in REFUSED:
        if any(re.fullmatch(pattern, key) for key in keys):
            raise InputError(f"{where}: {reason}")
    for source in SOURCES:
        if all(key in keys for key in source.has):
            return source
    example = next(iter(keys), "none")
    known = "; ".join(source.name for source in SOURCES)
    raise InputError(f"{where}: its tensors, as {example}, are of no known source; known are {known}")
