"""The benchmark: counts worked out by hand, parts of a time that add up, a report for people and machines."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
from detectron2.modeling import build_model
from torch import nn
from torch.nn import functional as F

from nightlab.benchmark import Axis, Timing, benchmark, compare_with_peer, report_table
from nightlab.benchmark.cost import count_parameters
from nightlab.benchmark.macs import count_gmac
from nightlab.benchmark.side_by_side import alternate
from nightlab.errors import InputError
from nightlab.modeling.deformable import DeformableConv2d
from nightlab.predictor import Predictor
from nightlab.runtime import ExportedModel

from .conftest import REPOSITORY
from .modeling.contracts import pointwise_model, tiny_config

CPU = torch.device("cpu")


class Alone(nn.Module):
    """A backbone that runs `module` on what it sees, without strides."""

    size_divisibility = 1

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"res2": self.module(x)}


def macs_of(module: nn.Module, size: tuple[int, int]) -> float:
    """Multiply-adds that are counted in a backbone."""
    model = pointwise_model()
    model.image_level.backbone = Alone(module)
    model.image_level.decode_head = nn.Identity()
    model.image_level.decode_head.forward = lambda features: features["res2"]  # type: ignore[method-assign]
    gmac = count_gmac(model, size, {"backbone": "image_level.backbone"})
    return 1e9 * gmac["backbone"]


def test_a_convolution_is_counted() -> None:
    assert macs_of(nn.Conv2d(3, 5, 3, padding=1), (6, 8)) == 48 * 3 * 5 * 9


def test_counting_takes_no_memory() -> None:
    """The image alone would take 12 GiB."""
    assert macs_of(nn.Conv2d(3, 5, 3, padding=1), (2**15, 2**15)) == 2**30 * 3 * 5 * 9


@pytest.mark.parametrize(("modulated", "fields"), [(False, 18), (True, 27)])
def test_a_deformable_convolution_is_counted(modulated: bool, fields: int) -> None:
    module = DeformableConv2d(3, 5, bias=False, modulated=modulated)
    offsets, weights, samples = 48 * 3 * fields * 9, 48 * 3 * 5 * 9, 48 * 4 * 3 * 9
    assert macs_of(module, (6, 8)) == offsets + weights + samples


class Attention(nn.Module):
    """Attention of all places to all places, in one head of three channels."""

    def __init__(self, fused: bool):
        super().__init__()
        self.fused = fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2).unsqueeze(1)  # [B, 1, HW, 3]
        if self.fused:
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        else:
            mixed = (tokens @ tokens.transpose(-1, -2) * 3**-0.5).softmax(-1) @ tokens
        return mixed.squeeze(1).transpose(1, 2).reshape(x.shape)


def test_fused_attention_is_counted_as_what_it_computes() -> None:
    assert macs_of(Attention(fused=True), (4, 6)) == macs_of(Attention(fused=False), (4, 6)) == 2 * 24 * 24 * 3


@pytest.mark.parametrize("fused", [0, 2])
def test_a_swin_costs_the_same_however_it_attends(fused: int) -> None:
    """timm fuses where it is allowed to (2: even where that is experimental)."""
    before = timm.layers.use_fused_attn(), timm.layers.use_fused_attn(experimental=True)
    timm.layers.set_fused_attn(fused > 0, experimental=fused > 1)
    try:
        options = {"depths": (2, 1), "embed_dim": 8, "num_heads": (1, 2), "strict_img_size": False}
        swin = timm.create_model("swin_tiny_patch4_window7_224", features_only=True, out_indices=(0,), **options)
    finally:
        timm.layers.set_fused_attn(before[0], experimental=before[1])
    fusing = [module.fused_attn for module in swin.modules() if hasattr(module, "fused_attn")]
    assert fusing == [fused > 1] * 2

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.swin = swin

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.swin(x)[0].permute(0, 3, 1, 2)

    tokens, window = 14 * 14, 7 * 7
    embedding = tokens * 3 * 4 * 4 * 8
    linears = tokens * (8 * 24 + 8 * 8 + 8 * 32 + 32 * 8)
    attention = 2 * tokens * window * 8
    norms = 5 * tokens * 8  # the weight of a norm
    assert macs_of(First(), (56, 56)) == embedding + norms + 2 * (linears + attention + 2 * norms)


def test_components_and_rest_make_the_total() -> None:
    model = pointwise_model()
    components = {"backbone": "image_level.backbone", "decode head": "image_level.decode_head"}
    gmac = count_gmac(model, (8, 12), components)
    assert gmac["backbone"] == 0  # means of 4x4 pixels: no product
    assert gmac["decode head"] * 1e9 == pytest.approx(6 * 3 * 3)
    assert gmac["total"] == pytest.approx(gmac["decode head"] + gmac["rest"])


def test_a_detector_counts_the_doubt_that_it_sums() -> None:
    """Products of the rows of each anchor's place, the map of doubt and the columns, and nothing else."""
    plain, summing = (
        count_gmac(build_model(tiny_config(*DUAL, "MODEL.HARDNESS.DOUBT", doubt)), (64, 96), {"detector": "detector"})
        for doubt in (False, True)
    )
    assert plain["detector"] < summing["detector"] < 1.1 * plain["detector"]
    assert plain["rest"] == summing["rest"]


class Sleeper(nn.Module):
    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def forward(self) -> None:
        time.sleep(self.seconds)


def test_parts_of_a_timing_add_up() -> None:
    calls = []
    short, long = Sleeper(0.01), Sleeper(0.03)

    def call(watch: Any) -> None:
        calls.append(1)
        short()
        short()
        long()
        with watch.lap("own"):
            time.sleep(0.02)
        time.sleep(0.01)

    timing = Timing.of(call, CPU, modules={"short": short, "long": long}, repeats=3, warmup=2)
    assert len(calls) == 5
    assert len(timing.totals) == 3 and list(timing.parts) == ["short", "long", "own", "rest"]
    for n, total in enumerate(timing.totals):
        assert sum(seconds[n] for seconds in timing.parts.values()) == pytest.approx(total)
    least = {name: min(seconds) for name, seconds in timing.parts.items()}
    assert least["short"] >= 0.02 and least["long"] >= 0.03 and least["own"] >= 0.02 and least["rest"] >= 0.01
    figures = timing.to_json()
    assert figures["min_s"] <= figures["median_s"] == timing.median <= figures["max_s"]
    assert not short._forward_hooks and not short._forward_pre_hooks


def test_median_and_spread() -> None:
    timing = Timing((3.0, 1.0, 2.0), {"head": (2.5, 0.5, 0.25), "rest": (0.5, 0.5, 1.75)})
    assert timing.to_json() == {
        "median_s": 2.0,
        "min_s": 1.0,
        "max_s": 3.0,
        "repeats": 3,
        "parts_median_s": {"head": 0.5, "rest": 0.5},
        "parts_min_s": {"head": 0.25, "rest": 0.5},
        "parts_max_s": {"head": 2.5, "rest": 1.75},
    }


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return benchmark(tiny_config(), size=(64, 96), batch=2, train=True, repeats=2, warmup=0)


def test_the_report_is_complete(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report)) == report
    assert (report["size"], report["batch"]) == ([64, 96], 2)
    assert set(report["gmac"]) == {"backbone", "decode head", "rest", "total"}
    assert report["parameters"] > 1e6
    assert list(report["forward"]["parts_median_s"]) == ["backbone", "decode head", "rest"]
    step = report["training_step"]
    assert list(step["parts_median_s"]) == ["backbone", "decode head", "backward", "optimizer", "rest"]
    for timed in (report["forward"], step):
        assert timed["min_s"] > 0 and timed["peak_memory_mib"] > 100 and timed["precision"] == "float32"
    assert {"torch", "torchvision", "timm", "detectron2", "nightlab"} < set(report["environment"]["versions"])


def test_the_images_are_seen_at_the_size_asked_for(report: dict[str, Any]) -> None:
    """Whatever the test size of the configuration: 64x96 costs six times what 32x32 does, but for rounding."""
    cfg = tiny_config("INPUT.IMAGE_SIZE", [512, 512], "TEST.PRECISION", "bfloat16")
    small = benchmark(cfg, size=(32, 32), repeats=1, warmup=0)
    assert report["gmac"]["backbone"] == pytest.approx(6 * small["gmac"]["backbone"], rel=0.01)
    assert "training_step" not in small and small["forward"]["precision"] == "bfloat16"


def test_scaled_images_are_seen_as_the_configuration_says() -> None:
    cfg = tiny_config(*DUAL, "INPUT.IMAGE_SIZE", [32, 64])  # half of 64x96
    scaled = benchmark(cfg, size=(64, 96), repeats=1, warmup=0, regions=1, scaled=True)
    seen, whole = (benchmark(cfg, size=size, repeats=1, warmup=0, regions=1)["gmac"] for size in ((32, 48), (64, 96)))
    assert scaled["size"] == [64, 96] and scaled["gmac"] == seen
    assert scaled["gmac"]["region level"] == whole["region level"] and seen["total"] < whole["total"]


def test_the_average_of_a_generator_is_no_parameter_of_the_model_that_runs() -> None:
    def parameters(*opts: object) -> int:
        return count_parameters(build_model(tiny_config("MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.AVERAGE", *opts)))

    assert parameters(0.9) == parameters(0.0)


def test_the_table_names_everything(report: dict[str, Any]) -> None:
    table = report_table(report)
    for text in ("64x96, batch 2", "M parameters", "GMAC", "decode head", "optimizer", "peak memory", "torch 2"):
        assert text in table
    head, forward = next(line for line in table.splitlines() if "decode head" in line), report["forward"]
    least, most = (forward[f"parts_{key}_s"]["decode head"] for key in ("min", "max"))
    assert f"({least:.3f} to {most:.3f})" in head
    assert max(map(len, table.splitlines())) <= 160


def test_command_line(load_tool: Callable[[str], ModuleType], tmp_path: Path, capsys: Any) -> None:
    tool = load_tool("benchmark")
    config = str(REPOSITORY / "configs" / "camvid" / "upernet_swin_nano.yaml")
    size = ["--size", "56", "84", "--repeats", "1", "--warmup", "0"]
    assert (
        tool.main(["--config-file", config, *size, "--json", str(tmp_path / "cost.json"), "MODEL.DEVICE", "cpu"]) == 0
    )
    written = json.loads((tmp_path / "cost.json").read_text())
    assert written["config"] == config and written["size"] == [56, 84]
    assert "56x84, batch 1, 1 repeats" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--config-file", "absent.yaml"], "absent.yaml: no such configuration"),
        (["--config-file", "BASE", "MODEL.TIM.NAME", "x"], "did you mean MODEL.TIMM.NAME"),
        (["--config-file", "BASE", "MODEL.TIMM.NAME", "resnet19"], "no feature model 'resnet19'"),
    ],
)
def test_faults_are_one_line(
    load_tool: Callable[[str], ModuleType], capsys: Any, arguments: list[str], reason: str
) -> None:
    base = str(REPOSITORY / "configs" / "Base-UPerNet.yaml")
    status = load_tool("benchmark").main([base if text == "BASE" else text for text in arguments])
    error = capsys.readouterr().err
    assert status == 2 and reason in error and error.count("\n") == 1


DUAL = (
    *("MODEL.REGION.ENABLED", True, "MODEL.REGION.CROP_SIZE", [32, 32], "MODEL.HARDNESS.LABELS", "hdm"),
    *("MODEL.HARDNESS.CONVS_DIM", 32, "MODEL.ANCHOR_GENERATOR.SIZES", [[16]], "MODEL.HARDNESS.CANDIDATES", 6),
)


def test_both_levels_by_component() -> None:
    report = benchmark(tiny_config(*DUAL), size=(64, 96), repeats=1, warmup=0, regions=3)
    parts = {"backbone", "decode head", "detector", "crop", "region level", "paste and merge", "rest"}
    assert set(report["forward"]["parts_median_s"]) == parts
    gmac = report["gmac"]
    assert gmac["total"] == pytest.approx(sum(value for name, value in gmac.items() if name != "total"))
    one = benchmark(tiny_config(*DUAL), size=(64, 96), repeats=1, warmup=0, regions=1)["gmac"]
    assert gmac["region level"] == pytest.approx(3 * one["region level"])
    # The same segmentor on a sixth of the pixels, but for one more output.
    assert one["region level"] == pytest.approx((one["total"] - one["region level"] - one["detector"]) / 6, rel=0.1)


@pytest.mark.parametrize("stage", ["image", "region", "rdn", "hdm"])
def test_a_training_step_of_every_stage(stage: str) -> None:
    """With light adaptation, whose own losses the first two stages have."""
    cfg = tiny_config(*DUAL, "MODEL.NIGHTLAB.STAGE", stage, "MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.CHANNELS", 8)
    report = benchmark(cfg, size=(32, 32), batch=2, train=True, repeats=1, warmup=0)
    assert report["training_step"]["median_s"] > 0


def test_a_part_that_runs_inside_another_is_not_counted_twice() -> None:
    """As what activation checkpointing computes again in the backward pass."""
    module = Sleeper(0.01)

    def call(watch: Any) -> None:
        with watch.lap("backward"):
            module()

    parts = Timing.of(call, CPU, modules={"head": module}, repeats=1, warmup=0).parts
    assert list(parts) == ["backward", "rest"] and parts["rest"][0] < 0.01 <= parts["backward"][0]


def test_a_grid_has_a_row_for_every_combination(load_tool: Any, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from nightlab.benchmark import grid

    def measure(cfg: Any, *args: Any) -> dict[str, Any]:
        """In this process; four images are said to be too many."""
        return grid.training_cost(cfg, *args) if cfg.SOLVER.IMS_PER_BATCH < 4 else {"fault": "out of memory"}

    monkeypatch.setattr(grid, "_in_own_process", measure)
    target = tmp_path / "grid.json"
    arguments = ["--config-file", swin_of_one_block_a_stage(tmp_path), "--size", "32", "64", "--json", str(target)]
    arguments += ["--repeats", "1", "--warmup", "0", "--vary", "SOLVER.IMS_PER_BATCH 2 4"]
    arguments += ["--vary", "MODEL.TIMM.CHECKPOINT_ACTIVATIONS True False", "MODEL.DEVICE", "cpu"]
    assert load_tool("benchmark").main([*arguments, "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"]) == 0
    rows = json.loads(target.read_text())["rows"]
    varied = [(row["SOLVER.IMS_PER_BATCH"], row["MODEL.TIMM.CHECKPOINT_ACTIVATIONS"]) for row in rows]
    assert varied == [("2", "True"), ("2", "False"), ("4", "True"), ("4", "False")]
    assert rows[0]["batch"] == 2 and rows[0]["images_per_s"] == pytest.approx(2 / rows[0]["median_s"])
    lines = capsys.readouterr().out.splitlines()
    assert "peak [MiB]" in lines[0] and "32x64" in lines[1] and lines[4].endswith("out of memory")


def test_an_axis_needs_a_key_and_values() -> None:
    assert Axis.parse('MODEL.TIMM.NAME "a b" c') == Axis("MODEL.TIMM.NAME", ("a b", "c"))
    with pytest.raises(InputError, match=r'--vary "SOLVER\.MAX_ITER": give a key and its values'):
        Axis.parse("SOLVER.MAX_ITER")


def swin_of_one_block_a_stage(tmp_path: Path) -> str:
    """A configuration file of a nano Swin under a 16-channel head."""
    path = tmp_path / "swin.yaml"
    text = "MODEL: {TIMM: {ARGS: {embed_dim: 8, depths: [1, 2, 1, 1], num_heads: [1, 1, 2, 2]}}}"
    path.write_text(f"_BASE_: {REPOSITORY / 'configs' / 'backbones' / 'swin_nano.yaml'}\n{text}\n")
    return str(path)


@pytest.mark.parametrize(("peer", "module"), [("transformers", "transformers"), ("smp", "segmentation_models_pytorch")])
def test_beside_a_peer(peer: str, module: str, load_tool: Any, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip(module)
    config = swin_of_one_block_a_stage(tmp_path)
    arguments = ["--config-file", config, "--size", "96", "128", "--repeats", "2", "--warmup", "0", "--peer", peer]
    target = tmp_path / "cost.json"
    options = ["MODEL.DEVICE", "cpu", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"]
    assert load_tool("benchmark").main([*arguments, "--json", str(target), *options]) == 0
    report = json.loads(target.read_text())
    assert report["max_relative_difference"] < 1e-4
    assert 0 < report["gmac_ratio"] < 1.05
    assert report["time_ratio"] == pytest.approx(
        report["peer"]["median_s"]["ours"] / report["peer"]["median_s"]["theirs"]
    )
    assert report["peer"]["gmac"]["ours"] == pytest.approx(report["gmac"]["total"])
    assert f"beside {peer}" in capsys.readouterr().out


def test_turns_alternate() -> None:
    order: list[str] = []
    seconds = alternate({n: lambda n=n: order.append(n) for n in "ab"}, CPU, repeats=3, warmup=1)  # type: ignore[misc]
    assert "".join(order) == "baabbaab"
    assert [len(values) for values in seconds.values()] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--peer", "transformers", "MODEL.TIMM.NAME", "resnet10t"], "compared on a Swin"),
        (["--peer", "smp", "MODEL.TIMM.OUT_NORM", ""], "set MODEL.TIMM.OUT_NORM LN"),
    ],
)
def test_peers_that_have_no_such_model(load_tool: Any, capsys: Any, arguments: list[str], reason: str) -> None:
    config = str(REPOSITORY / "configs" / "camvid" / "upernet_effnet_lite0.yaml")
    size = ["--size", "32", "32", "--repeats", "1", "--warmup", "0"]
    peer, options = arguments[:2], [*arguments[2:], "MODEL.DEVICE", "cpu", "MODEL.TIMM.DROP_PATH_RATE", "0.0"]
    pytest.importorskip({"smp": "segmentation_models_pytorch"}.get(peer[1], peer[1]))
    assert load_tool("benchmark").main(["--config-file", config, *size, *peer, *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_peer_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match="run: pip install segmentation_models_pytorch"):
        compare_with_peer(tiny_config("MODEL.TIMM.OUT_NORM", "LN"), "smp", size=(32, 32))


class Same(ExportedModel):
    """What an exported image level would say, from the model itself."""

    def __init__(self, predictor: Predictor):
        metadata = {"size": [40, 64], "level": "image", "classes": [], "colors": []}
        super().__init__("model.pt2", metadata, "no engine")
        self.predictor = predictor

    def run(self, frame: Any) -> dict[str, Any]:
        return {"labels": self.predictor(frame).labels}


def test_beside_what_it_was_exported_to(load_tool: Any, nano_cfg: Any, tmp_path: Path, capsys: Any) -> None:
    torch.save({"model": build_model(nano_cfg).state_dict()}, tmp_path / "model.pth")
    (tmp_path / "config.yaml").write_text(nano_cfg.dump())
    nano_cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    count = ["--size", "40", "64", "--repeats", "2", "--warmup", "0"]
    arguments = ["--config-file", str(tmp_path / "config.yaml"), *count, "--json", str(tmp_path / "cost.json")]
    predictor = Predictor(nano_cfg)
    tool, given = load_tool("benchmark"), ["MODEL.WEIGHTS", nano_cfg.MODEL.WEIGHTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tool, "load_exported", lambda path, threads: Same(predictor))
        assert tool.main([*arguments, "--exported", str(tmp_path / "model.pt2"), *given]) == 0
    found = json.loads((tmp_path / "cost.json").read_text())["exported"]
    assert found["equal_labels"] == 1 and found["repeats"] == 2 and found["engine"] == "no engine"
    assert found["time_ratio_least"] <= found["time_ratio"] * 1.0001
    assert "model.pt2 beside eager: image level, 40x64, no engine, 2 runs in turns" in capsys.readouterr().out
    assert tool.main([*arguments, "--exported", str(tmp_path / "model.pth"), *given]) == 2
    said = capsys.readouterr()
    assert "no file of tools/export.py" in said.err and "GMAC" not in said.out, "known before anything is measured"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--warmup", "-1"], "-1 is less than 0"),
        (["--regions", "-1"], "-1 is less than 0"),
        (["--json", "nowhere/cost.json"], "name a file in a folder that exists"),
        (["--vary", "SOLVER.IMS_PER_BATCH 1", "--loader", "3", "--exported", "x.onnx"], "without --exported, --loader"),
        (["--loader", "3", "--peer", "smp", "--train"], "without --peer, --train"),
        (["--peer", "smp", "--scaled"], "without --scaled"),
    ],
)
def test_options_that_would_be_passed_over(load_tool: Any, capsys: Any, options: list[str], said: str) -> None:
    with pytest.raises(SystemExit):
        load_tool("benchmark").main(["--config-file", "x.yaml", *options])
    assert said in capsys.readouterr().err


def test_no_peer_has_deformable_convolutions() -> None:
    with pytest.raises(InputError, match=r"--peer smp: its convolutions are plain; set MODEL.*DEFORM_HEAD"):
        compare_with_peer(tiny_config("MODEL.SEM_SEG_HEAD.DEFORM_HEAD", True), "smp", size=(32, 32))


def test_light_adaptation_is_a_part_of_its_own() -> None:
    learned = benchmark(tiny_config("MODEL.LIGHT.NAME", "relam"), size=(32, 64), repeats=1)
    assert learned["gmac"]["light adaptation"] > 0 and "light adaptation" in learned["forward"]["parts_median_s"]
    by_rule = benchmark(tiny_config("MODEL.LIGHT.NAME", "clahe"), size=(32, 64), repeats=1)
    assert by_rule["gmac"]["light adaptation"] == 0 and by_rule["forward"]["parts_median_s"]["light adaptation"] > 0


def time_the_data(load_tool: Any, tiny_card: str, *options: str) -> int:
    """The exit status of `--loader 7` for a staged configuration."""
    config = str(REPOSITORY / "configs" / "camvid" / "nightlab_rdn_effnet_lite0.yaml")
    names = ["DATASETS.TRAIN", f"('{tiny_card}_train',)", "DATASETS.VAL", f"('{tiny_card}_val',)"]
    sizes = ["INPUT.CROP_SIZE", "[32, 48]", "MODEL.REGION.CROP_SIZE", "[24, 24]", "DATALOADER.NUM_WORKERS", "1"]
    batches = ["SOLVER.IMS_PER_BATCH", "3", "STAGES.REGION.IMS_PER_BATCH", "2", "STAGES.RDN.IMS_PER_BATCH", "1"]
    return int(
        load_tool("benchmark").main(["--config-file", config, "--loader", "7", *options, *names, *sizes, *batches])
    )


@pytest.mark.parametrize(
    ("stage", "crop", "batch", "said"),
    [
        ("image", [32, 48], 3, "crops of 32x48"),
        ("region", [24, 24], 2, "crops of 24x24"),
        ("rdn", [], 1, "whole frames"),
    ],
)
def test_the_training_data_alone(
    load_tool: Any, tiny_card: str, tmp_path: Path, capsys: Any, stage: str, crop: list[int], batch: int, said: str
) -> None:
    options = ["MODEL.NIGHTLAB.STAGE", stage, "MODEL.NIGHTLAB.HARD_CLASSES", "['grey']"]
    assert time_the_data(load_tool, tiny_card, "--json", str(tmp_path / "loader.json"), *options) == 0
    report = json.loads((tmp_path / "loader.json").read_text())
    assert report["reading"] > 0 and report["mapper"] > 0 and report["loader"] > 0
    assert (report["images"], report["workers"], report["batch"], report["crop"]) == (7, 1, batch, crop)
    told = capsys.readouterr().out
    assert f"training data of stage {stage}, {said}, 7 images" in told and "mapper alone, one process" in told


def test_data_of_a_stage_that_cannot_be_timed(load_tool: Any, tiny_card: str, capsys: Any) -> None:
    assert time_the_data(load_tool, tiny_card, "MODEL.NIGHTLAB.STAGE", "hdm") == 2
    assert "'hdm' is not one of this configuration's image, region, rdn" in capsys.readouterr().err
    assert time_the_data(load_tool, tiny_card, "MODEL.NIGHTLAB.STAGE", "region") == 2
    assert "stage region looks for hard classes; name some" in capsys.readouterr().err
