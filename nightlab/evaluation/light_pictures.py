"""Pictures of what a run's light adaptation does: frames, light maps and adapted frames of a test set."""

from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from nightlab.data import catalog
from nightlab.evaluation.light_study import adapt_record, adapting_level
from nightlab.evaluation.pictures import picture_name, spread, write_image
from nightlab.files import write_json_aside
from nightlab.light_panels import light_panels
from nightlab.modeling.nightlab import NightLab

# Of so many pictures of predictions, one of light.
SHARE = 3


def write_light_pictures(cfg: CfgNode, model: NightLab, name: str) -> list[Path]:
    """Write a third of `TEST.PICTURES` panels of a data set as `light/<data set>/<image id>.png` in the run's folder.

    `index.json` beside them has the figures of each (see `light_figures`). Pictures of an earlier evaluation are
    removed; without light adaptation none are written. For one process.
    """
    folder = Path(cfg.OUTPUT_DIR, "light", name)
    for stale in folder.glob("*.png"):
        stale.unlink()
    level = adapting_level(model)
    if level is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    records = catalog.load(name)
    files, entries = [], []
    for place in spread(len(records), -(-cfg.TEST.PICTURES // SHARE)):
        result = adapt_record(level, records[place])
        image_id = str(records[place]["image_id"])
        files.append(folder / picture_name(image_id))
        write_image(files[-1], light_panels(result.frame, result.adapted))
        entry: dict[str, Any] = {"file": files[-1].name, "image_id": image_id}
        entries.append(entry | {key: round(value, 4) for key, value in result.figures.items()})
    write_json_aside(folder / "index.json", {"dataset": name, "pictures": entries})
    return files
