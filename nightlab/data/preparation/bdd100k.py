"""BDD100K's 10k set with semantic labels, its frames sorted into night and day."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nightlab.data.preparation import night
from nightlab.data.preparation.convert import Part
from nightlab.data.preparation.layouts import Layout, find
from nightlab.data.preparation.nightcity import write_held_out
from nightlab.data.preparation.parallel import light_of
from nightlab.data.preparation.prepare import prepare, split_of, write_list
from nightlab.data.preparation.report import PartReport, write_reports
from nightlab.errors import InputError, enumerate_some

NEW = Layout(
    tree="BDD100K (images/10k/{train,val}/X.jpg with labels/sem_seg/masks/{train,val}/X.png)",
    images=r"10k/(?P<split>train|val)/(?P<name>[^/]+)\.jpg",
    labels=(
        r"sem_seg/masks/(?P<split>train|val)/(?P<name>[^/]+)\.png",
        r"sem_seg/colormaps/(?P<split>train|val)/(?P<name>[^/]+)\.png",
    ),
)
OLD = Layout(
    tree="the older BDD100K (seg/images/{train,val}/X.jpg with seg/labels/{train,val}/X_train_id.png)",
    images=r"seg/images/(?P<split>train|val)/(?P<name>[^/]+)\.jpg",
    labels=(
        r"seg/labels/(?P<split>train|val)/(?P<name>[^/]+)_train_id\.png",
        r"seg/color_labels/(?P<split>train|val)/(?P<name>[^/]+)_train_color\.png",
    ),
)
EXPECTED = {"train": 7000, "val": 1000}
NIGHT_PUBLISHED = {"train": 343, "val": 85}
VERDICTS = "night.csv"
# Of some 343 night frames, one in so many: hard classes, the best checkpoint and HDM's labels all rest on them.
HELD_OUT = 5


def prepare_bdd100k_night(
    root: Path,
    output: Path,
    *,
    attributes: Sequence[Path] = (),
    listed: Path | None = None,
    by: str = "attribute",
    threshold: float = night.NIGHT_LUMINANCE,
    workers: int | None = None,
    progress: bool = True,
) -> list[PartReport]:
    """Prepares both splits and writes the lists `<split>_night` and `<split>_day` (all that is not night).

    Args:
        attributes: BDD100K's JSON files with times of day, or folders of them; without any, those below `root` serve.
        listed: a file that names the night frames, instead of any rule.
        by, threshold: as for `night.judge`.

    Raises:
        InputError: as `find`, `prepare`, `night.strangers`; or a JSON or the list cannot be read.
    """
    named = night.read_list(listed) if listed else None
    download = find(root, [NEW, OLD])
    part = Part("BDD100K 10k", "labels", ".jpg", download.images, download.labels, EXPECTED)
    strangers = night.strangers(named, download.images) if named else []
    # Damaged files matter where the times decide.
    times, damaged = night.read_times(_json_files(attributes, root))
    if damaged and by == "attribute" and not named:
        raise InputError(damaged[0])
    report = prepare(part, output, workers=workers, progress=progress)
    ids = [i for split in report.ids.values() for i in split]
    known = night.read_luminance(output / VERDICTS) | report.luminance
    missing = [i for i in ids if i not in known]
    known |= light_of({i: part.image_in(output, i) for i in missing}, workers, progress)
    verdicts = night.judge({i: known[i] for i in ids}, times, threshold=threshold, listed=named, by=by)
    night.write_verdicts(output / VERDICTS, verdicts)
    report.remarks += download.remarks + damaged
    if strangers:
        report.remarks.append(f"of the night list, not in this copy: {enumerate_some(strangers)}")
    if named:
        lost = sorted({i for i in part.images if {i, i.partition("/")[2]} & named} - set(ids))
        report.remarks += [f"of the night list, without a usable label map: {enumerate_some(lost)}"] if lost else []
    report.remarks.append(night.agreement(verdicts.values(), threshold))
    for split in report.ids:
        dark = [i for i in ids if split_of(i) == split and verdicts[i].night]
        day = [i for i in ids if split_of(i) == split and not verdicts[i].night]
        how = ", ".join(f"{n} by {rule}" for rule, n in sorted(Counter(verdicts[i].by for i in dark).items()))
        report.remarks.append(
            f"{split}: {len(dark)} night frames{f' ({how})' if how else ''}, {NIGHT_PUBLISHED[split]} published (the "
            f"authors' list is not public); {len(day)} others"
        )
        for name, group in (("night", dark), ("day", day)):
            write_list(output, f"{split}_{name}", group, f"BDD100K 10k, {split}, {name}: {len(group)} frames")
            if not group:
                report.remarks.append(f"{split}: no frame is {name}, so there is no such list")
        if split == "train" and dark:
            write_held_out(output, f"{split}_night", dark, HELD_OUT)
    write_reports([report], output)
    return [report]


def _json_files(attributes: Sequence[Path], root: Path) -> list[Path]:
    """Raises InputError where one of `attributes` is none."""
    files: list[Path] = []
    for place in attributes or [root]:
        found = [place] if place.is_file() else sorted(place.rglob("*.json"))
        found = [file for file in found if not file.name.startswith(".")]  # ._X.json, which macOS puts into archives
        if not found and attributes:
            raise InputError(f"--attributes {place}: no JSON file there; name BDD100K's, or a folder of them")
        files += found
    return sorted(files)
