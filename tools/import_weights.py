"""Turns weights that others trained into NightLab's, and says where every tensor went.

    python tools/import_weights.py upernet_swin_tiny.pth imported/swin_tiny.safetensors
    python tools/import_weights.py FOLDER_OF_TRANSFORMERS imported/swin_base.pth --config-file CFG
    python tools/import_weights.py swin_tiny_patch4_window7_224.pth imported/backbone.safetensors

Known are UPerNet-Swin of transformers, of mmsegmentation and of the official Swin-Transformer-Semantic-Segmentation,
UPerNet of segmentation_models_pytorch, DeepLabV3+ of detectron2 (output stride 16), and ImageNet Swin of timm, of the
official release and in mmsegmentation's layout.

A segmentor becomes a whole model, for MODEL.WEIGHTS; an ImageNet Swin a backbone, for MODEL.TIMM.WEIGHTS.
Without --config-file the model is read off the tensors and described in a configuration beside DST. No code in SRC is
run.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from detectron2.modeling import build_model

from nightlab import importing
from nightlab.errors import InputError, enumerate_some, exits_on_input_error
from nightlab.files import written_aside
from nightlab.modeling import TimmBackbone

MADE = "# Made by tools/import_weights.py: it is written anew with the weights beside it."


@exits_on_input_error("import_weights.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    config = options.config_file or options.target.with_suffix(".yaml")
    _check_target(options, config)
    checkpoint = importing.read_source(options.source)
    source = importing.recognise(checkpoint.tensors, str(checkpoint.file))
    print(f"{checkpoint.file}: {source.name}")
    if checkpoint.unread:
        print(f"not read: {enumerate_some(checkpoint.unread)}")
    described = {}
    if options.config_file is None:
        described = importing.describe(checkpoint, importing.convert(checkpoint, source).tensors, source)
    cfg = importing.target_config(options.config_file, described, options.opts)
    importing.check_pixels(checkpoint, cfg)
    if cfg.MODEL.TIMM.WINDOWS != source.windows:
        print(
            f"Swin's windows there are MODEL.TIMM.WINDOWS {source.windows}: set that, or features near borders differ"
        )
    key = "MODEL.WEIGHTS" if source.segmentor else "MODEL.TIMM.WEIGHTS"
    if source.segmentor:
        classes = importing.class_names(cfg)
        tensors, placements = importing.import_segmentor(checkpoint, source, build_model(cfg), classes)
    else:
        backbone = TimmBackbone(**TimmBackbone.from_config(cfg, None))
        tensors, placements = importing.import_backbone(checkpoint, source, backbone)
    importing.write_weights(options.target, tensors)
    print(importing.placement_table(placements, every=options.every))
    use = ["--config-file", str(config), key, str(options.target)]
    if options.config_file is None:
        model = importing.with_overrides(described, cfg, options.opts)
        with written_aside(config) as aside:
            aside.write_text(f"{MADE}\n{yaml.safe_dump(model, sort_keys=False)}", encoding="utf-8")
        print(f"{config}: the model that it is")
    else:
        use += options.opts
    print(f"{options.target}: use it with {shlex.join(use)}")
    return 0


def _check_target(options: argparse.Namespace, config: Path) -> None:
    """Raises InputError where DST, or the configuration beside it, is a file that must not be written over."""
    if options.target.exists() and options.source.exists() and options.target.samefile(options.source):
        raise InputError(f"{options.target}: is SRC itself; name another file as DST")
    if options.config_file or not config.exists():
        return
    if not config.is_file() or not config.read_bytes().startswith(MADE.encode()):
        raise InputError(f"{config}: is there, and not by this tool; name another DST, or move it away")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SRC", help="weights file, or a folder as transformers saves them")
    parser.add_argument("target", type=Path, metavar="DST", help="a .safetensors, .pth or .pt file")
    parser.add_argument(
        "--config-file", type=Path, metavar="CFG", help="fit the weights to this model (default: the one they are of)"
    )
    parser.add_argument("--every", action="store_true", help="list every tensor instead of every part")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="overrides of the configuration"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
