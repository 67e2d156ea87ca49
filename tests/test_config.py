"""Configurations: those that come with NightLab load, and faulty ones are refused in one line without running code."""

from pathlib import Path

import pytest
import yaml
from detectron2.config import get_cfg

from nightlab.config import add_nightlab_config, load_config
from nightlab.errors import InputError

from .conftest import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
BASE = REPOSITORY / "configs" / "Base-UPerNet.yaml"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY / "configs")))
def test_every_configuration_loads(path: Path) -> None:
    cfg = load_config(path)
    assert cfg.MODEL.META_ARCHITECTURE == "NightLab"
    is_part = path.stem.startswith("Base") or path.parent.name == "backbones"
    assert is_part or cfg.OUTPUT_DIR == f"output/{path.parent.name}/{path.stem}"


def test_a_loaded_configuration_survives_being_written(tmp_path: Path) -> None:
    """Runs write theirs; detectron2's own commands read it."""
    cfg = load_config(REPOSITORY / "configs" / "camvid" / "upernet_swin_nano.yaml", ["SEED", "7"])
    (tmp_path / "config.yaml").write_text(cfg.dump())
    read = get_cfg()
    add_nightlab_config(read)
    read.merge_from_file(str(tmp_path / "config.yaml"))
    # As text: one of detectron2's own keys holds tuples that YAML gives back as lists.
    as_lists = [yaml.safe_load(c.dump()) for c in (read, cfg, load_config(tmp_path / "config.yaml"))]
    assert as_lists[0] == as_lists[1] == as_lists[2]
    assert read.SEED == 7


def test_values_go_from_base_to_file_to_command_line(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("MODEL: {SEM_SEG_HEAD: {CONVS_DIM: 7, NUM_CLASSES: 3}}\nSEED: 1\n")
    (tmp_path / "own.yaml").write_text("_BASE_: base.yaml\nMODEL: {SEM_SEG_HEAD: {NUM_CLASSES: 4}}\nSEED: 2\n")
    cfg = load_config(tmp_path / "own.yaml", ["SEED", "3", "MODEL.TIMM.NAME", "resnet18"])
    assert (cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.SEED) == (7, 4, 3)
    assert cfg.MODEL.TIMM.NAME == "resnet18"


def test_a_whole_number_serves_where_a_float_is_meant() -> None:
    opts = ["MODEL.LIGHT.GAN_WEIGHT", "3", "SOLVER.BASE_LR", "-1", "SOLVER.MAX_ITER", "2"]
    cfg = load_config(BASE, opts)
    for value, meant in ((cfg.MODEL.LIGHT.GAN_WEIGHT, 3.0), (cfg.SOLVER.BASE_LR, -1.0), (cfg.SOLVER.MAX_ITER, 2)):
        assert value == meant and type(value) is type(meant)


def test_an_option_after_the_overrides_is_sent_to_its_place() -> None:
    with pytest.raises(InputError, match=r"--resume: options stand before the first KEY VALUE"):
        load_config(BASE, ["SEED", "3", "--resume"])


def test_arguments_of_timm_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("MODEL: {TIMM: {ARGS: {embed_dim: 32, depths: [2, 2, 2, 2]}}}\n")
    assert dict(load_config(tmp_path / "own.yaml").MODEL.TIMM.ARGS) == {"embed_dim": 32, "depths": [2, 2, 2, 2]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("MODEL: {TIM: {NAME: resnet18}}", "unknown key MODEL.TIM; did you mean MODEL.TIMM?"),
        ("MODEL: {SEM_SEG_HEAD: {CONV_DIM: 3}}", "did you mean MODEL.SEM_SEG_HEAD.CONVS_DIM?"),
        ("XYZXYZ: 1", "unknown key XYZXYZ; see nightlab/config.py"),
        ("MODEL: {TIMM: {NAME: 3}}", "Type mismatch.*MODEL.TIMM.NAME"),
        ("MODEL: {LIGHT: {GAN_WEIGHT: 3}}", "MODEL.LIGHT.GAN_WEIGHT is 3, a whole number; write 3.0"),
        ("SOLVER: 3", "SOLVER"),
        ("MODEL: [1, 2]", "MODEL"),
        ("_BASE_: absent.yaml", "absent.yaml"),
        ("MODEL: {TIMM", "not a plain YAML configuration"),
        ("- 1\n- 2\n", "a group of keys is meant"),
        ("just words", "a group of keys is meant"),
        ("# nothing yet\n", "is empty"),
        ("\x00\x01", "not a plain YAML configuration"),
        ("SEED: !!python/object/apply:pathlib.Path.touch [TOUCHED]", "Python objects are refused"),
        ("SEED: !!python/name:os.system", "Python objects are refused"),
    ],
)
def test_faulty_files(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text.replace("TOUCHED", str(tmp_path / "touched")))
    with pytest.raises(InputError, match=f"own.yaml: .*({reason})") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "touched").exists()


def test_code_in_a_base_is_refused_too(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    (tmp_path / "base.yaml").write_text(f"SEED: !!python/object/apply:pathlib.Path.touch [{touched}]\n")
    (tmp_path / "own.yaml").write_text("_BASE_: base.yaml\n")
    with pytest.raises(InputError, match="Python objects are refused"):
        load_config(tmp_path / "own.yaml")
    assert not touched.exists()


def test_pickles_are_allowed_on_the_command_line_alone(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("MODEL: {ALLOW_PICKLE: true}\n")
    with pytest.raises(InputError, match=r"own\.yaml: sets MODEL\.ALLOW_PICKLE"):
        load_config(tmp_path / "own.yaml", ["SEED", "1"])
    for said in (True, False):
        assert load_config(tmp_path / "own.yaml", ["MODEL.ALLOW_PICKLE", str(said)]).MODEL.ALLOW_PICKLE is said


def test_a_torchscript_program_is_asked_for_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("MODEL: {LIGHT: {NAME: torchscript, FILE: strange.pt}}\n")
    with pytest.raises(InputError, match=r"own\.yaml: lets each image through a program, strange\.pt; say"):
        load_config(tmp_path / "own.yaml", ["SEED", "1"])
    for said in ("torchscript", ""):
        assert load_config(tmp_path / "own.yaml", ["MODEL.LIGHT.NAME", said]).MODEL.LIGHT.NAME == said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("_BASE_: own.yaml", "is based on itself"),
        ("_BASE_: [a.yaml, a.yaml]", "is based on more than 50 files"),
        ("_BASE_: https://example.org/a.yaml", "name a file on this machine"),
        ("_BASE_: /dev/zero", "is no file"),
    ],
)
def test_bases_without_an_end(tmp_path: Path, text: str, reason: str) -> None:
    for name, base in zip("abcde", "bcdef", strict=True):
        (tmp_path / f"{name}.yaml").write_text(f"_BASE_: [{base}.yaml, {base}.yaml]\n")
    (tmp_path / "f.yaml").write_text("SEED: 1\n")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(InputError, match=reason):
        load_config(tmp_path / "own.yaml")


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such configuration file; see configs/"):
        load_config(tmp_path / name)


@pytest.mark.parametrize(
    ("opts", "reason"),
    [
        (["SOLVER.BASE_LRR", "1"], "unknown key SOLVER.BASE_LRR; did you mean SOLVER.BASE_LR?"),
        (["MODEL.TIMM.NAME"], "command line: .*MODEL.TIMM.NAME"),
        (["SEED", "many"], "command line: Type mismatch"),
        (["SEED.DEEPER", "1"], "command line: .*SEED"),
    ],
)
def test_faulty_overrides(opts: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        load_config(BASE, opts)
    assert "\n" not in str(caught.value)
