"""The report's curves: loss, mIoU on held-out images and learning rate of every stage."""

from nightlab.report.charts import Series, line_chart
from nightlab.report.run_files import STAGES, RunFiles, Stage, number
from nightlab.report.text import as_text, fold, soft

LOSSES = ("total_loss", "loss_sem_seg", "loss_aux", "loss_rpn_cls", "loss_rpn_loc")
# What training survived, by the metric that counts it (`engine/faults.py`).
SURVIVED = {
    "bad_steps": "steps skipped, whose loss or gradient was no finite number",
    "bad_files": "files that turned bad, for which others took their place",
    "dead_workers": "workers of the data loader that died and were replaced",
}
# How the held-out images judge a stage (`VALIDATION_SOURCES` of the trainer).
JUDGED = {
    "region": "Its mIoU is that of merging at the hard regions of the ground truth, which no detector knows.",
    "rdn": "Its mIoU is that of merging at the regions which the detector finds.",
    "hdm": (
        "It learns from {} of the held-out images; its mIoU is that of merging on the others, at the regions which "
        "the detector finds, and so not to be compared with the curves above."
    ),
}


def training(run: RunFiles) -> str:
    """A section with the curves of each stage, under its name where there are several; empty without any."""
    curves = [(stage, _curves(stage)) for stage in run.stages]
    parts = [_stage(run, stage, html) if run.is_staged else html for stage, html in curves if html]
    if not parts:
        return ""
    earlier = {"The image level was": "STAGES.IMAGE_LEVEL", "Both levels and RDN were": "STAGES.DETECTOR"}
    for what, key in earlier.items():
        if run.is_dual and run.setting(key) and not run.history:
            parts.insert(0, soft(f"{what} trained before: {as_text(run.setting(key))}"))
    if not any(stage.series("val/sem_seg/mIoU")[0] for stage in run.stages):
        parts.insert(0, soft("No mIoU on held-out images was recorded, so there is no curve of it."))
    rates = "".join(_learning_rate(stage, STAGES[stage.name] if run.is_staged else "") for stage in run.stages)
    if rates:
        parts.append(fold("Learning rate of most parameters", f'<div class="charts">{rates}</div>'))
    return f"<h2>Training</h2>{''.join(parts)}"


def _stage(run: RunFiles, stage: Stage, curves: str) -> str:
    spent = f", about {stage.minutes:.0f} minutes" if stage.minutes >= 1 else ""
    planned = run.planned_iterations(stage.name)
    whole = f" of {planned:,}" if planned not in (None, stage.iterations) else ""
    share = number(run.setting("MODEL.HARDNESS.TRAIN_SHARE"))
    judged = JUDGED.get(stage.name, "").format("a part" if share is None else f"{100 * share:g} %")
    said = f"{stage.iterations:,}{whole} iterations{spent}. {judged}"
    return f"<h3>{STAGES[stage.name]}</h3>{soft(said.strip())}{curves}"


def _curves(stage: Stage) -> str:
    held_out = [Series("all classes", *stage.series("val/sem_seg/mIoU"))]
    if stage.name != "image":  # which classes are hard is settled when the image level is finished
        held_out.append(Series("hard classes", *stage.series("val/sem_seg/mIoU-hard")))
    x, share = stage.series("hdm/share_with_gain")
    charts = [
        line_chart("Loss", [Series(name, *stage.series(name)) for name in LOSSES]),
        line_chart("mIoU on held-out images, %", held_out, mark=_best(held_out[0])),
        line_chart("Candidates that gain from the region level, %", [Series("share", x, [100 * y for y in share])]),
    ]
    shown = f'<div class="charts">{"".join(charts)}</div>' if any(charts) else ""
    return _survived(stage) + shown


def _survived(stage: Stage) -> str:
    counts = {what: max(stage.series(name)[1], default=0) for name, what in SURVIVED.items()}
    said = "; ".join(f"{what}: {count:.0f}" for what, count in counts.items() if count)
    return soft(f"Survived, and named in log.txt: {said}.") if said else ""


def _best(series: Series) -> tuple[float, str] | None:
    """Where the best checkpoint is: the first of the highest values, as the trainer keeps it."""
    if len(series.y) < 2:
        return None
    return series.x[list(series.y).index(max(series.y))], "best"


def _learning_rate(stage: Stage, title: str) -> str:
    return line_chart(title or "Learning rate", [Series("learning rate", *stage.series("lr"))])
