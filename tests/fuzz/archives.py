"""Weights, exported models and videos: whole ones, and files that lie, carry code or hold something else."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

METADATA = {"size": [6, 8], "classes": ["dark", "bright"], "colors": [[10, 20, 30], [200, 100, 0]], "level": "image"}


class Touch:
    """A pickle of it runs a command where it is loaded."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch touched",)


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def swin() -> dict[str, Tensor]:
    """The tensors by which an ImageNet Swin of timm is told, and a block; too few for a model."""
    block = "layers.0.blocks.0."
    return {
        "patch_embed.proj.weight": torch.zeros(8, 3, 4, 4),
        "layers.1.downsample.reduction.weight": torch.zeros(16, 32),
        f"{block}attn.relative_position_bias_table": torch.zeros(169, 1),
        f"{block}attn.qkv.weight": torch.zeros(24, 8),
    }


def saved(content: Any, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def whole_weights() -> dict[str, bytes]:
    torch.manual_seed(0)
    state = model().state_dict()
    return {
        "model.pth": saved({"model": state, "iteration": 3}),
        "bare.pth": saved(dict(state)),
        "old.pth": saved({"model": state}, zipped=False),
        "model.safetensors": tensors_file(
            {key: (list(value.shape), 4 * value.numel()) for key, value in state.items()}
        ),
        "swin.pth": saved({"state_dict": swin(), "meta": {"CLASSES": ("a", "b")}}),
    }


def bad_weights() -> dict[str, bytes]:
    state = dict(model().state_dict())
    named = {"model": state}
    broken = {
        "empty": b"",
        "text": b"no weights",
        "code": saved({"model": Touch()}),
        "code_old": saved({"model": Touch()}, zipped=False),
        "code_pickle": pickle.dumps(Touch()),
        "list": saved([torch.zeros(1)]),
        "number": saved(5),
        "model_list": saved({"model": [1]}),
        "model_number": saved({"model": 5}),
        "model_empty": saved({"model": {}}),
        "key_number": saved({"model": {1: torch.zeros(1)}}),
        "key_number_bare": saved({1: torch.zeros(1)}),
        "value_text": saved({"model": state | {"0.weight": "text"}}),
        "shape": saved({"model": state | {"0.weight": torch.zeros(4, 3, 3)}}),
        "dtype": saved({"model": state | {"0.weight": torch.zeros(4, 3, 3, 3, dtype=torch.complex64)}}),
        "sparse": saved({"model": state | {"0.weight": torch.zeros(4, 3, 3, 3).to_sparse()}}),
        "meta": saved({"model": state | {"0.weight": torch.zeros(4, 3, 3, 3, device="meta")}}),
        "missing": saved({"model": {"0.weight": state["0.weight"]}}),
        "guessed": saved({**named, "matching_heuristics": True, "__author__": "Caffe2"}),
        "expanded": saved({"model": state | {"0.weight": torch.zeros(1).expand(10**12)}}),
        "hollow": saved({"model": state | {"0.weight": torch.zeros(10**9, 0)}}),
        "classes_number": saved({"state_dict": swin(), "meta": {"CLASSES": 5}}),
        "swin_wide": saved(swin() | {"patch_embed.proj.weight": torch.zeros(10**9, 0)}),
        "swin_large": saved(swin() | {"patch_embed.proj.weight": torch.zeros(50_000, 1)}),
        "swin_scalar": saved(swin() | {"patch_embed.proj.weight": torch.zeros(())}),
        "swin_table": saved(swin() | {"layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(5)}),
        "swin_expanded": saved(swin() | {"layers.1.downsample.reduction.weight": torch.zeros(1).expand(4, 10**12)}),
        "zip_bomb": deflated(saved(named), 150_000_000),
        "zip_climbing": climbing(saved(named)),
        "hashed": hashed(40),
        "deep": old_format((b"}X\x01\0\0\0a" * 20_000) + b"}" + b"s" * 20_000 + b"."),
    }
    return {f"{name}.pth": content for name, content in broken.items()} | lying_headers()


def deflated(archive: bytes, size: int) -> bytes:
    """The same archive, with a first tensor of `size` bytes that are deflated to a thousandth."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, True, 1) as new,
    ):
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as file:
                if name.endswith("data/0"):
                    for _ in range(size // 10**6):
                        file.write(bytes(10**6))
                else:
                    file.write(old.read(name))
    return stream.getvalue()


def climbing(archive: bytes) -> bytes:
    """The same archive with a further entry whose name leads upwards."""
    stream = io.BytesIO(archive)
    with zipfile.ZipFile(stream, "a") as file:
        file.writestr("../../touched", "outside")
    return stream.getvalue()


def hashed(levels: int) -> bytes:
    """A pickle of one dict, whose key is a tuple of tuples; to hash it takes 2^levels steps."""
    return old_format(b"}" + b")q\0" + b"h\0\x86q\0" * levels + b"K\1s.")


def old_format(pickled: bytes) -> bytes:
    """A pickle as torch.save before 1.6 wrote it."""
    before = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(value, 2) for value in before) + b"\x80\2" + pickled + pickle.dumps([], 2)


def tensors_file(tensors: dict[str, tuple[list[int], int]], header: bytes | None = None, length: int = -1) -> bytes:
    """A safetensors file of zeros: shape and bytes of each tensor."""
    told: dict[str, Any] = {}
    end = 0
    for key, (shape, size) in tensors.items():
        told[key] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(told).encode() if header is None else header
    return struct.pack("<Q", len(text) if length < 0 else length) + text + bytes(end)


def lying_headers() -> dict[str, bytes]:
    entry = '{"dtype": "F32", "shape": %s, "data_offsets": %s}'
    twice = f'{{"a": {entry % ("[2]", "[0, 8]")}, "a": {entry % ("[2]", "[0, 8]")}}}'
    files = {
        "long_header": tensors_file({}, b"{}", length=2**62),
        "short_header": tensors_file({"a": ([2], 8)}, length=5),
        "beyond": tensors_file({}, b'{"a": ' + (entry % ("[1000]", "[0, 4000]")).encode() + b"}"),
        "overlap": tensors_file({"a": ([2], 4), "b": ([2], 8)}),
        "negative": tensors_file({}, b'{"a": ' + (entry % ("[-1]", "[0, -4]")).encode() + b"}"),
        "overflow": tensors_file({}, b'{"a": ' + (entry % ("[4294967296, 4294967296]", "[0, 0]")).encode() + b"}"),
        "hollow": tensors_file({"0.weight": ([10**9, 0], 0)}),
        "twice": tensors_file({}, twice.encode()) + bytes(8),
        "kind": tensors_file({}, b'{"a": {"dtype": "F99", "shape": [], "data_offsets": [0, 0]}}'),
        "nest": tensors_file({}, b"[" * 100_000),
        "blank": tensors_file({}, b" " * 1_000_000),
        "metadata": tensors_file({}, b'{"__metadata__": {"a": 5}}'),
        "latin": tensors_file({}, b'{"\xff": 1}'),
    }
    return {f"{name}.safetensors": content for name, content in files.items()}


def exported(told: Any = METADATA, name: str = "frame", size: tuple[int, int] = (6, 8)) -> bytes:
    """An ONNX graph that calls every pixel class 0; `told` as JSON is its metadata, a text as it stands, None none."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMax", [name, "axis"], ["labels"], keepdims=0),
        helper.make_node("Cast", ["labels"], ["confidence"], to=TensorProto.FLOAT),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [2])
    taken = helper.make_tensor_value_info(name, TensorProto.UINT8, [*size, 3])
    given = [
        helper.make_tensor_value_info(key, kind, size)
        for key, kind in (("labels", TensorProto.UINT8), ("confidence", TensorProto.FLOAT))
    ]
    graph = helper.make_graph(nodes, "made", [taken], given, [axis])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if told is not None:
        helper.set_model_props(made, {"nightlab": told if isinstance(told, str) else json.dumps(told)})
    return made.SerializeToString()


def bad_exports() -> dict[str, bytes]:
    wrong: dict[str, Any] = {
        "none": None,
        "no_json": "{",
        "nested": "[" * 100_000,
        "digits": "9" * 10_000,
        "list": [],
        "number": 5,
        "no_size": {key: METADATA[key] for key in ("classes", "colors")},
        "size_text": METADATA | {"size": "6x8"},
        "size_three": METADATA | {"size": [6, 8, 3]},
        "size_huge": METADATA | {"size": [10**9, 10**9]},
        "size_null": METADATA | {"size": [0, 0]},
        "size_other": METADATA | {"size": [60, 80]},
        "classes_number": METADATA | {"classes": 5},
        "classes_text": METADATA | {"classes": "dark"},
        "classes_numbers": METADATA | {"classes": [1, 2]},
        "classes_none": METADATA | {"classes": [], "colors": []},
        "colors_few": METADATA | {"colors": [[1, 2, 3]]},
        "colors_short": METADATA | {"colors": [[1], [2]]},
        "colors_large": METADATA | {"colors": [[1, 2, 300], [1, 2, -3]]},
        "colors_text": METADATA | {"colors": ["red", "blue"]},
        "regions_text": METADATA | {"max_regions": "many"},
        "regions_negative": METADATA | {"max_regions": -3},
        "control": METADATA | {"classes": ["a\nb", "\x1b[31m"]},
    }
    files = {f"{name}.onnx": exported(told) for name, told in wrong.items()}
    whole = exported()
    files |= {
        "no_text.onnx": whole.replace(b"dark", b"d\xffrk"),
        "no_name.onnx": whole.replace(b"labels", b"l\xffbels"),
    }
    large = 8000, 8000  # its graph takes such frames, to which every photo would be enlarged
    files["size_large.onnx"] = exported(METADATA | {"size": large}, size=large)
    return files | {"input.onnx": exported(name="picture"), "empty.onnx": b"", "text.onnx": b"no model"}


def video(folder: Path) -> bytes:
    path = folder / "made.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12.5, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), (0, 0, 40 * i), np.uint8))
    writer.release()
    content = path.read_bytes()
    path.unlink()
    return content


def bad_videos(whole: bytes) -> dict[str, bytes]:
    """`whole` cut and lying about its length, and texts that name other files to play."""
    place = whole.index(b"stts") + 8
    samples = whole.index(b"stsz") + 12
    many = struct.pack(">I", 2**31 - 9)
    return {
        "empty.mp4": b"",
        "text.mp4": b"no video",
        "cut.mp4": whole[: len(whole) // 2],
        "cut_late.mp4": whole[:-60],
        "long.mp4": whole[: place + 4] + many + whole[place + 8 :],
        "many.mp4": whole[:samples] + many + whole[samples + 4 :],
        "playlist.mp4": b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:9,\nfile:///etc/passwd\nhttp://127.0.0.1:9/a.ts\n",
        "joined.mp4": b"ffconcat version 1.0\nfile '/etc/passwd'\nfile 'http://127.0.0.1:9/a.mp4'\n",
        "session.mp4": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    }
