"""Files that are not whole, hold more than weights, or contradict the configuration; and what is written."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor

from nightlab.config import load_config
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.importing import Checkpoint, read_source
from nightlab.importing.target import check_pixels

from .models import transformers_upernet


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return dict(transformers_upernet(auxiliary=False).state_dict())


@pytest.fixture
def run(load_tool: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Import a state dict (or what a test makes of one) to ours.pth; the exit status and what was printed."""

    def call(content: Any, *options: str) -> tuple[int, str]:
        torch.save(content, tmp_path / "theirs.pth")
        status = load_tool("import_weights").main([str(tmp_path / "theirs.pth"), str(tmp_path / "ours.pth"), *options])
        printed = capsys.readouterr()
        return status, printed.err if status else printed.out

    return call


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("backbone.encoder.layers.1.blocks.0.", "of stage 1 is missing"),
        ("backbone.encoder.layers.3.", "of stage 3 is missing"),
        (
            "backbone.encoder.layers.2.blocks.0.layernorm_before.",
            "2 tensors of the model are missing, as backbone.body",
        ),
        ("backbone.hidden_states_norms.stage2", "2 tensors of the model are missing, as backbone.norms.1.weight"),
        ("decode_head.lateral_convs.1.conv", "1 tensors of the model are missing, as decode_head.laterals.1.0.weight"),
    ],
)
def test_what_is_not_whole_is_refused(state: dict[str, Tensor], run: Any, missing: str, said: str) -> None:
    name = next((key for key in state if key.startswith(missing)), None)
    if name is None:  # transformers has changed its names
        state = {key.replace("backbone.swin.", "backbone."): value for key, value in state.items()}
    assert any(key.startswith(missing) for key in state), missing
    status, printed = run({key: value for key, value in state.items() if not key.startswith(missing)})
    assert status == 2 and said in printed and "theirs.pth: " in printed and printed.count("\n") == 1


def test_what_is_not_read_is_named(state: dict[str, Tensor], run: Any) -> None:
    status, printed = run({"state_dict": state, "ema_state_dict": state, "epoch": 3})
    assert status == 0 and "not read: ema_state_dict, epoch" in printed
    status, printed = run({**state, "epoch": 3})
    assert status == 0 and "not read: epoch" in printed
    key = "decode_head.lateral_convs.1.conv.weight"
    status, printed = run({"model": state | {key: state[key].tolist()}})
    assert status == 2 and f"'{key}' is a list" in printed


def test_files_that_are_damaged_get_no_remedy_for_others(tmp_path: Path) -> None:
    for name, content in (("torn.pth", b"PK\x03\x04torn"), ("empty.pth", b""), ("text.pth", b"weights?")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: is damaged, or no weights file") as caught:
            read_source(tmp_path / name)
        assert "torch.load" not in str(caught.value)


def test_the_configuration_beside_the_weights_is_that_of_the_overrides(
    state: dict[str, Tensor], run: Any, tmp_path: Path
) -> None:
    status, printed = run(state, "--opts", "MODEL.TIMM.ARGS.window_size", "4", "MODEL.SEM_SEG_HEAD.DEFORM_HEAD", "True")
    assert status == 0 and "resized to a window of 4" in printed
    _loaded(tmp_path)
    base = str(tmp_path / "ours.yaml")
    status, printed = run(state, "--config-file", base, "--opts", "MODEL.TIMM.ARGS.window_size", "7")
    assert status == 0 and printed.rstrip().endswith(
        f"MODEL.WEIGHTS {tmp_path / 'ours.pth'} MODEL.TIMM.ARGS.window_size 7"
    )


def test_classes_without_names_are_kept_as_they_are(run: Any, tmp_path: Path) -> None:
    state = transformers_upernet(labels=21, auxiliary=False).state_dict()
    status, printed = run(state)
    assert status == 0 and "classes unnamed: taken in their order" in printed
    own = _loaded(tmp_path).image_level.decode_head.classifier.weight
    assert torch.equal(own, state["decode_head.classifier.weight"])


def _loaded(folder: Path) -> Any:
    model = build_model(load_config(folder / "ours.yaml", ["MODEL.DEVICE", "cpu"]))
    NightLabCheckpointer(model).load(str(folder / "ours.pth"), checkpointables=[])
    return model


def test_nothing_of_the_users_is_written_over(state: dict[str, Tensor], run: Any, tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text("MODEL: {}\n")
    status, printed = run(state)
    assert status == 2 and "ours.yaml: is there, and not by this tool" in printed
    assert (tmp_path / "ours.yaml").read_text() == "MODEL: {}\n" and not (tmp_path / "ours.pth").exists()
    (tmp_path / "ours.yaml").unlink()
    assert run(state)[0] == 0 and run(state)[0] == 0, "its own is"
    (tmp_path / "ours.yaml").unlink()
    (tmp_path / "ours.yaml").mkdir()
    assert run(state)[0] == 2
    (tmp_path / "ours.yaml").rmdir()
    (tmp_path / "ours.pth").unlink()
    (tmp_path / "ours.pth").symlink_to(tmp_path / "theirs.pth")
    status, printed = run(state)
    assert status == 2 and "is SRC itself" in printed


def test_pool_scales_of_transformers(tmp_path: Path, load_tool: Any) -> None:
    peer: Any = transformers_upernet(auxiliary=False)
    peer.save_pretrained(tmp_path / "peer")
    config = tmp_path / "peer" / "config.json"
    config.write_text(
        config.read_text().replace(
            '"pool_scales": [\n    1,\n    2,\n    3,\n    6\n  ]', '"pool_scales": [1, 2, 4, 8]'
        )
    )
    assert load_tool("import_weights").main([str(tmp_path / "peer"), str(tmp_path / "ours.pth")]) == 0
    assert load_config(tmp_path / "ours.yaml").MODEL.SEM_SEG_HEAD.POOL_SCALES == [1, 2, 4, 8]


def test_how_a_file_normalises_images_is_not_passed_over(repository: Path) -> None:
    cfg = load_config(repository / "configs" / "Base-DeepLabV3Plus.yaml")

    def pixels(mean: list[float]) -> Checkpoint:
        return Checkpoint(Path("d2.pth"), {"pixel_mean": torch.tensor(mean).view(3, 1, 1)})

    check_pixels(pixels(list(cfg.MODEL.PIXEL_MEAN)), cfg)
    with pytest.raises(InputError, match=r"d2\.pth: its pixel_mean .* is that of images in BGR"):
        check_pixels(pixels([103.53, 116.28, 123.675]), cfg)
    with pytest.raises(
        InputError, match=r"d2\.pth: normalises by PIXEL_MEAN \[127\.5, 127\.5, 127\.5\].*set MODEL\.PIXEL"
    ):
        check_pixels(pixels([127.5] * 3), cfg)
