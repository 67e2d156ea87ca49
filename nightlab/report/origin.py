"""The report's last section: settings, versions, commands that make it again, and the whole configuration."""

import shlex
from html import escape

from nightlab.report.run_files import RunFiles
from nightlab.report.text import as_text, fold, soft

FACTS = {
    "trained on": "DATASETS.TRAIN",
    "checkpoint chosen on": "DATASETS.VAL",
    "tested on": "DATASETS.TEST",
    "backbone": "MODEL.TIMM.NAME",
    "start weights of the backbone": "MODEL.TIMM.WEIGHTS",
    "start weights of the model": "MODEL.WEIGHTS",
    "images per step": "SOLVER.IMS_PER_BATCH",
    "steps": "SOLVER.MAX_ITER",
    "learning rate": "SOLVER.BASE_LR",
    "crop (height, width)": "INPUT.CROP_SIZE",
    "seed": "SEED",
}
# Further ones of a run with a region level.
DUAL_FACTS = {
    "image level trained before": "STAGES.IMAGE_LEVEL",
    "levels and RDN trained before": "STAGES.DETECTOR",
    "hard classes, named": "MODEL.NIGHTLAB.HARD_CLASSES",
    "hard below an IoU of": "MODEL.NIGHTLAB.HARD_IOU",
    "region crop (height, width)": "MODEL.REGION.CROP_SIZE",
    "region zoom (least, most)": "MODEL.REGION.ZOOM_RANGE",
    "context around boxes": "MODEL.REGION.CONTEXT",
    "classes of the region level": "MODEL.REGION.CLASSES",
    "labels of the detector": "MODEL.HARDNESS.LABELS",
    "features of the detector": "MODEL.HARDNESS.FEATURES",
    "gain that HDM learns": "MODEL.HARDNESS.GAIN",
    "HDM's scores grow with gain": "MODEL.HARDNESS.GRADED",
    "HDM's scores start from doubt": "MODEL.HARDNESS.DOUBT",
    "regions at test from": "MODEL.NIGHTLAB.REGIONS",
    "regions of an image, at most": "MODEL.NIGHTLAB.MAX_REGIONS",
    "overlap of regions (IoU), at most": "MODEL.NIGHTLAB.NMS_THRESH",
    "rule of merging": "MODEL.NIGHTLAB.MERGE",
}

SOURCES = (
    "Every figure of this page is in files of the run's folder, or follows from them: those of a data set from the "
    "confusion matrices and the counts of each image and of each bin of confidence in evaluation/."
)
# What each command makes again; those after the first need the data, and start where the run was started.
PAGE = "This page, from the files."
AFTER_TRAINING = (
    "evaluation/, calibration.json, pictures/, light/, hardness.json, cost.json (times of this machine) and "
    "environment.json. Nothing is trained where the model_final.pth of every stage is there."
)
EVALUATION = (
    "The figures of one checkpoint alone, elsewhere: a config.yaml is that of the last command run in its folder."
)
TRAINING = "The curves (metrics.json): by training again with the same seed, equal bit for bit on one CPU."


def origin(run: RunFiles) -> str:
    """The section, from what is recorded."""
    facts = {name: as_text(run.setting(key)) for name, key in FACTS.items()}
    share = run.setting("DATASETS.VAL_FRACTION")
    if run.config and not facts["checkpoint chosen on"] and share:
        facts["checkpoint chosen on"] = f"{100 * share:g} % of the training images, held out"
    if run.is_dual:
        facts["steps"] = ", ".join(f"{stage} {run.planned_iterations(stage)}" for stage in run.planned_stages())
        facts |= {name: as_text(run.setting(key)) for name, key in DUAL_FACTS.items()}
        if facts["hard classes, named"]:
            del facts["hard below an IoU of"]
    facts |= run.environment
    rows = "".join(f'<tr><th scope="row">{escape(n)}</th><td>{escape(v)}</td></tr>' for n, v in facts.items() if v)
    commands = escape("\n".join(f"# {what}\n{command}" for what, command in _commands(run)))
    parts = ["<h2>How it was made</h2>"]
    parts.append(f'<table class="facts">{rows}</table>' if rows else soft("Nothing about it was recorded."))
    parts.append(f"<h3>Make this page again, and its figures</h3>{soft(SOURCES)}<pre>{commands}</pre>")
    if run.config_text:
        parts.append(fold("The whole configuration", f"<pre>{escape(run.config_text)}</pre>"))
    return "".join(parts)


def _commands(run: RunFiles) -> list[tuple[str, str]]:
    """What is made again, and by which command."""
    folder, again = shlex.quote(str(run.folder)), shlex.quote(f"{run.folder}_again")
    commands = [(PAGE, f"python tools/report.py {folder}")]
    if not run.config:
        return commands
    config = shlex.quote(str(run.folder / "config.yaml"))
    train_net = f"python projects/NightLab/train_net.py --config-file {config}"
    weights = [run.folder / name for name in ("model_best.pth", "model_final.pth") if (run.folder / name).is_file()]
    if weights:
        checkpoint = shlex.quote(str(weights[0]))
        commands.append((AFTER_TRAINING, f"{train_net} --resume OUTPUT_DIR {folder}"))
        commands.append((EVALUATION, f"{train_net} --eval-only MODEL.WEIGHTS {checkpoint} OUTPUT_DIR {again}"))
    return [*commands, (TRAINING, f"{train_net} OUTPUT_DIR {again}")]
