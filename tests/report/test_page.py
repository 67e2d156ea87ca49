"""The report of whole, partial, damaged and hostile runs."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from nightlab.errors import InputError
from nightlab.report import write_report
from nightlab.report.reading import read_run

CLASSES = ["road", "pole", "train"]
VOID = {"meta", "img", "input", "br", "line", "circle"}


class Outline(HTMLParser):
    """Checks that tags are closed in order; collects what refers to other places."""

    def __init__(self, html):
        super().__init__()
        self.open, self.links = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def figures(miou):
    ious = {"IoU-road": 90.0, "IoU-pole": 12.5, "IoU-train": None}
    return {"mIoU": miou, "mIoU-hard": 12.5, "mIoU-easy": 90.0, "pACC": 88.0, "mACC": 60.0, "fwIoU": 80.0, **ious}


def write_evaluation(folder, kind, miou, iteration, dataset="streets_test", **changes):
    document = {
        "dataset": dataset,
        "kind": kind,
        "checkpoint": f"model_{kind}.pth",
        "iteration": iteration,
        "classes": CLASSES,
        "hard_classes": ["pole"],
        "images": 12,
        "results": {"sem_seg": figures(miou)},
        "confusion_matrix": {"sem_seg": [[90, 10, 0], [3, 1, 0], [0, 0, 0]]},
    }
    path = folder / "evaluation" / dataset / f"{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | changes))


def lines(*entries):
    return "".join(json.dumps(entry) + "\n" for entry in entries)


@pytest.fixture
def run(tmp_path):
    """A finished run, with everything a run leaves."""
    folder = tmp_path / "my run"
    folder.mkdir()
    config = {
        "DATASETS": {"TRAIN": ["streets_train"], "VAL": [], "VAL_FRACTION": 0.1, "TEST": ["streets_test"]},
        "SOLVER": {"MAX_ITER": 40, "BASE_LR": 0.001},
        "SEED": 7,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    history = [
        {"iteration": i, "total_loss": 4 - i / 20, "loss_sem_seg": 3 - i / 20, "lr": 1e-3, "time": 3.0}
        for i in (9, 19, 29, 39)
    ]
    history[1] |= {"val/sem_seg/mIoU": 30.0}
    history[3] |= {"val/sem_seg/mIoU": 25.0}
    (folder / "metrics.json").write_text(lines(*history))
    write_evaluation(folder, "last", 40.5, 39)
    write_evaluation(folder, "best", 51.25, 19)
    pictures = folder / "pictures" / "streets_test"
    pictures.mkdir(parents=True)
    Image.fromarray(np.full((60, 100, 3), 90, np.uint8)).save(pictures / "01_a.png")
    index = {"ranked": 12, "pictures": [{"file": "01_a.png", "image_id": "a", "rank": 1, "mIoU": 77.77}]}
    (pictures / "index.json").write_text(json.dumps(index))
    (folder / "environment.json").write_text(json.dumps({"torch": "2.9.9", "device": "cpu"}))
    (folder / "model_best.pth").write_bytes(b"")
    return folder


def report(folder):
    html = write_report(folder).read_text(encoding="utf-8")
    Outline(html)
    return html


def test_a_whole_run(run):
    html = report(run)
    assert "Not on this page" not in html
    assert "<b>51.25 %</b>" in html and "last checkpoint (iteration 40): 40.50" in html, "best before last"
    assert "40</b><span>iterations, about 2 minutes" in html
    assert html.count("<svg") == 3 and ">best</text>" in html
    assert "Absent from the ground truth, and so not in the means: train." in html
    assert '<tr class=hard><th scope="row">pole' in html
    assert "pole taken for road: 75.0 % (3 pixels)" in html
    assert "a: rank 1 of 12, mIoU 77.8 %" in html
    assert "10 % of the training images, held out" in html
    assert ">7</td>" in html and "2.9.9" in html
    assert f"python tools/report.py &#x27;{run}&#x27;" in html, "quoted for the shell, then for HTML"
    assert "--eval-only MODEL.WEIGHTS" in html
    assert f"--resume OUTPUT_DIR &#x27;{run}&#x27;" in html and f"OUTPUT_DIR &#x27;{run}_again&#x27;" in html
    (run / "model_best.pth").unlink()
    assert "--resume" not in report(run), "it would train"


def test_nothing_is_loaded_from_elsewhere(run):
    html = report(run)
    assert all(link.startswith("data:") for link in Outline(html).links)
    assert not re.search(r"https?://|url\(|@import|<script", html)


def test_pictures_are_embedded(run):
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', report(run))
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (100, 60)


def test_pictures_of_light_have_a_chapter(run):
    assert "Light adaptation" not in report(run)
    folder = run / "light" / "streets_test"
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 10)).save(folder / "a.png")
    (folder / "index.json").write_text('{"pictures": []}')
    html = report(run)
    assert "<h2>Light adaptation of streets_test</h2>" in html and html.count("data:image/jpeg") == 2


def test_sizes_and_classes_of_the_regions(run):
    check = {"images": 1, "longer_sides": [10, 20, 30, 40, 50, None], "classes": {"pole": 2, "<b>": 3}}
    (run / "hardness.json").write_text(json.dumps({"unfitted": check, "fitted": {"longer_sides": 3, "classes": []}}))
    html = report(run)
    quantiles = "".join(f"<td>{side}</td>" for side in (10, 20, 30, 40, 50))
    assert f"<td>held out from everything</td><td>5</td>{quantiles}" in html
    assert "Classes, on images held out from everything: &lt;b&gt; 3, pole 2." in html


def test_what_a_frame_costs(run):
    assert "What a frame costs" not in report(run)
    parts = {"backbone": 0.0301, "rest": 0.01, "broken": None}
    found = {"dataset": "streets_test", "images": 5, "size": [40, 60], "precision": "float32", "median_s": 0.04}
    where = {"environment": {"device": "a CPU", "threads": 2}}
    (run / "cost.json").write_text(json.dumps({**found, "parts_median_s": parts, **where}))
    html = report(run)
    assert "<td>backbone</td><td>30.1</td><td>75</td>" in html and "<td>together</td><td>40.0</td><td>100</td>" in html
    assert "of 5 images of 60x40 of streets_test" in html
    assert "to the labels, on a CPU with 2 threads (float32)" in html  # a run of the image level alone
    for damaged in ({}, {"median_s": 0, "parts_median_s": {}}, {"median_s": 1, "parts_median_s": [1]}):
        (run / "cost.json").write_text(json.dumps(damaged))
        assert "What a frame costs" not in report(run)


def test_what_the_detector_knows(run):
    assert "What the detector knows" not in report(run)
    scores = [i / 32 for i in range(20)]
    check = {"images": 5, "regions_per_image": [4] * 5, "auc": 0.75, "share_with_gain": 0.5}
    check |= {"scores": scores, "gains": [0.02 if score >= 0.3 else -0.01 for score in scores]}
    (run / "hardness.json").write_text(json.dumps({"fitted": check | {"auc": None, "scores": []}, "unfitted": check}))
    html = report(run)
    assert "<td>held out from everything</td><td>5</td><td>4.0</td><td>50</td><td>0.75</td>" in html
    assert html.index("held out from everything") < html.index("both levels were fitted")
    assert "<td>highest fifth</td><td>0.55</td><td>100</td><td>+2.00</td>" in html
    assert "<td>lowest fifth</td><td>0.05</td><td>0</td><td>-1.00</td>" in html
    assert "Fifths of the regions" not in html, "an earlier version calibrated no scores"
    check["calibrated"] = [0.05 if score < 0.3 else 0.95 for score in scores]
    (run / "hardness.json").write_text(json.dumps({"unfitted": check}))
    html = report(run)
    assert "score, ECE 29.1 %" in html and "calibrated, ECE 4.0 %" in html


@pytest.mark.parametrize("content", ["{", "[]", '{"unfitted": 3}', '{"unfitted": {"auc": "x", "scores": [1]}}'])
def test_a_damaged_check_is_tolerated(run, content):
    (run / "hardness.json").write_text(content)
    report(run)


def test_everything_from_files_is_escaped(run):
    evil = "<script>alert('&')</script>"
    (run / "config.yaml").write_text(yaml.safe_dump({"DATASETS": {"TRAIN": [evil]}, "SEED": evil}))
    (run / "environment.json").write_text(json.dumps({evil: evil}))
    changes = {"classes": [evil, "pole", "train"], "images": evil, "checkpoint": evil, "hard_classes": [evil]}
    values = figures(1.0) | {f"IoU-{evil}": 5.0}
    write_evaluation(run, "eval", 0, 3, **changes, results={"sem_seg": values})
    write_evaluation(run, "best", 0, 3, **changes, results={"sem_seg": values})
    index = {"ranked": evil, "pictures": [{"file": "01_a.png", "image_id": evil, "rank": evil, "mIoU": evil}]}
    (run / "pictures" / "streets_test" / "index.json").write_text(json.dumps(index))
    assert "<script" not in report(run)


def test_a_run_that_goes_on(tmp_path):
    (tmp_path / "metrics.json").write_text(lines({"iteration": 19, "total_loss": 2.0}) + '{"iteration": 39, "tot')
    html = report(tmp_path)
    assert "1 damaged line" in html and "No evaluation has been written yet." in html
    assert "No pictures have been written" in html and "There is no config.yaml" in html
    assert "versions and device were not recorded" in html
    assert "No mIoU on held-out images was recorded" in html


def test_what_training_survived_is_counted(run):
    assert "Survived" not in report(run)
    counted = ({"bad_steps": 1}, {"bad_steps": 3, "dead_workers": 1}, {})
    entries = [{"iteration": i, "total_loss": 2.0, **x} for i, x in enumerate(counted)]
    (run / "metrics.json").write_text(lines(*entries))
    html = report(run)
    assert "whose loss or gradient was no finite number: 3; workers" in html and "were replaced: 1." in html
    assert "files that turned bad" not in html


def test_what_is_written_late_voids_nothing(tmp_path):
    """Detectron2 writes what was counted between two lines after the second one."""
    loss = [{"iteration": i, "total_loss": 2.0, "val/sem_seg/mIoU": 30.0 + i} for i in (19, 39)]
    (tmp_path / "metrics.json").write_text(
        lines(*loss, {"iteration": 33, "bad_steps": 1}, {"iteration": 39, "late": 1})
    )
    (stage,) = read_run(tmp_path).stages
    assert [entry["iteration"] for entry in stage.history] == [19, 33, 39] and stage.history[-1]["late"] == 1
    assert stage.series("val/sem_seg/mIoU") == ([20, 40], [49.0, 69.0])
    assert stage.series("bad_steps") == ([34], [1.0])


def test_figures_alone(tmp_path):
    write_evaluation(tmp_path, "eval", 33.333, None, checkpoint="theirs.pth")
    html = report(tmp_path)
    assert "mIoU on streets_test, theirs.pth" in html and "33.33 %" in html
    assert "There is no metrics.json" in html and "<svg" not in html


def test_both_levels_and_several_scales(run):
    levels = {"sem_seg": figures(50.0), "sem_seg_image_level": figures(44.0)}
    write_evaluation(run, "best_multi_scale", 0, 19, results=levels)
    html = report(run)
    assert "streets_test, best checkpoint at several scales (iteration 20), image level" in html and "44.00" in html
    assert "at several scales (iteration 20), difference</td><td>+6.00</td>" in html


@pytest.fixture
def dual_run(run):
    """A run of the region level and RDN on an image level trained before: pole gains, road loses."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["MODEL"] = {"REGION": {"ENABLED": True}, "HARDNESS": {"LABELS": "rdn"}, "NIGHTLAB": {"MAX_REGIONS": 10}}
    config["STAGES"] = {"IMAGE_LEVEL": "before/model_best.pth", "REGION": {"MAX_ITER": 20}, "RDN": {"MAX_ITER": 10}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "metrics.json").unlink()
    validated = {"val/sem_seg/mIoU": 50.0, "val/sem_seg/mIoU-hard": 20.0}
    for name, losses in (("region", {"loss_sem_seg": 2.0}), ("rdn", {"loss_rpn_cls": 0.5, "loss_rpn_loc": 0.1})):
        (run / "stages" / name).mkdir(parents=True)
        history = [{"iteration": i, "total_loss": 2.0, "lr": 1e-3, **losses, **validated} for i in (4, 9)]
        (run / "stages" / name / "metrics.json").write_text(lines(*history))
    before = figures(44.0) | {"mIoU-hard": 8.5, "IoU-pole": 8.5, "IoU-road": 91.0}
    levels = {"sem_seg": figures(50.0), "sem_seg_image_level": before}
    matrix = {level: [[90, 10, 0], [3, 1, 0], [0, 0, 0]] for level in levels}
    write_evaluation(run, "best", 0, 9, results=levels, confusion_matrix=matrix, per_image="best_per_image.npz")
    return run


def test_a_run_with_stages(dual_run):
    html = report(dual_run)
    assert "Not on this page" not in html
    assert 0 < html.index("<h3>Region level<") < html.index("<h3>Detector, labelled with boxes (RDN)<")
    assert "<h3>Image level<" not in html
    assert "The image level was trained before: before/model_best.pth" in html
    assert "10 of 20 iterations. Its mIoU" in html and "20</b><span>iterations of 30 in 2 stages" in html
    assert "loss_rpn_loc" in html and html.count("mIoU on held-out images, %</b>") == 2
    assert "region 20, rdn 10" in html and ">10</td>" in html


def test_both_levels_side_by_side(dual_run):
    html = report(dual_run)
    assert "<b>+6.00</b><span>points of mIoU against the image level: 44.00 to 50.00 %" in html
    assert "<b>+4.00</b><span>points on the hard classes: 8.50 to 12.50 %" in html
    assert "Merging takes mIoU from 44.00 to 50.00 %: a gain of 6.00 points. On the hard classes a gain of 4.00" in html
    assert "IoU rises for 1 of 2 classes, most for pole (+4.00), and falls for 1, most for road (−1.00)." in html
    assert 'class="change up">+4.0<' in html and 'class="change down">−1.0<' in html
    assert "<td>pole *</td><td>8.50</td><td>12.50</td><td>+4.00</td>" in html
    assert "What is taken for what, merged" in html and "What is taken for what, image level" in html


def test_the_difference_has_an_interval_where_counts_are_kept(dual_run):
    # Of two images one gains, so that resampling gives from no gain to that of the better one.
    before = np.array([[[5, 0, 0], [10, 0, 0], [5, 0, 0]]] * 2)
    after = before + np.array([[[0, 0, 0]] * 3, [[5, 0, 0], [0, 0, 0], [5, 0, 0]]])
    path = dual_run / "evaluation" / "streets_test" / "best_per_image.npz"
    np.savez(path, image_ids=["a", "b"], sem_seg=after, sem_seg_image_level=before)
    assert "a gain of 6.00 points (95 % interval over images: 0.00 to +50.00)." in report(dual_run)
    np.savez(path, image_ids=["a", "b"], sem_seg=after)
    assert "a gain of 6.00 points. On" in report(dual_run)
    for damaged in (b"no archive", path.read_bytes()[:40]):
        path.write_bytes(damaged)
        assert "a gain of 6.00 points. On" in report(dual_run)


def test_an_oracle_is_no_result(dual_run):
    path = dual_run / "evaluation" / "streets_test" / "best.json"
    document = json.loads(path.read_text())
    assert "No result, but a bound" not in report(dual_run)
    path.write_text(json.dumps(document | {"regions": "ground_truth"}))
    assert "No result, but a bound:</b> the regions were chosen by boxes of the ground truth" in report(dual_run)


def test_hard_classes_that_the_configuration_names(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["MODEL"] = {"NIGHTLAB": {"HARD_CLASSES": ["pole"]}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "Marked classes are hard: the configuration names them." in report(run)


def test_pictures_of_gain_are_announced(run):
    assert "From the best to the worst by the image&#x27;s mIoU." in report(run)
    index = run / "pictures" / "streets_test" / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"ranked_by": "gain"}))
    assert "from the largest gain to the largest loss" in report(run)


def test_data_sets_in_the_order_of_the_configuration(run):
    write_evaluation(run, "best", 11.0, 19, dataset="a_other")
    html = report(run)
    assert html.index("streets_test: IoU") < html.index("a_other: IoU")


@pytest.mark.parametrize(
    "file, content",
    [
        ("config.yaml", "a: [1"),
        ("config.yaml", "!!python/object/apply:os.system ['true']"),
        ("config.yaml", "just text"),
        ("metrics.json", '[1]\n{"iteration": "x"}\n\n{"iteration": 5, "total_loss": NaN}\n{"total_loss": 1}\n'),
        ("environment.json", "[]"),
        ("environment.json", "{"),
        ("pictures/streets_test/index.json", "{"),
        ("pictures/streets_test/index.json", '{"pictures": 3}'),
        ("pictures/streets_test/01_a.png", "no picture"),
        ("evaluation/streets_test/best.json", "{"),
        ("evaluation/streets_test/best.json", "7"),
        ("evaluation/streets_test/best.json", '{"results": {}}'),
        ("evaluation/streets_test/best.json", '{"results": {"sem_seg": {}}}'),
        ("evaluation/streets_test/best.json", '{"results": {"sem_seg": {}, "sem_seg_image_level": 3}}'),
        ("evaluation/streets_test/best.json", '{"results": {"sem_seg": {}, "sem_seg_image_level": {}}}'),
        ("evaluation/streets_test/best.json", '{"results": {"sem_seg": {}}, "classes": 3, "hard_classes": 1}'),
        (
            "evaluation/streets_test/best.json",
            '{"results": {"sem_seg": {}}, "classes": ["a"], "confusion_matrix": [[1]]}',
        ),
    ],
)
def test_damaged_files_are_tolerated(run, file, content):
    (run / file).write_text(content)
    assert "40.50" in report(run), "what is whole is shown"


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="OUTPUT_DIR"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "nowhere")


def test_output_elsewhere(run, tmp_path):
    path = write_report(run, tmp_path / "page.html")
    assert path == tmp_path / "page.html" and path.is_file() and not (run / "report.html").exists()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(run, tmp_path / "nowhere" / "page.html")


def test_command_line(run, load_tool, capsys, tmp_path):
    tool = load_tool("report")
    assert tool.main([str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert tool.main([str(tmp_path / "nowhere")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("report.py: ") and "nowhere" in error
