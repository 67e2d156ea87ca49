"""A file of torch.export with its metadata: what it holds, what is refused, and that Detectron2 is not needed."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import nightlab
from nightlab.errors import InputError
from nightlab.export.torch_file import write_torch

METADATA = {"size": [6, 8], "classes": ["dark", "bright"], "colors": [[10, 20, 30], [200, 100, 0]], "level": "image"}


class Red(nn.Module):
    """A pixel is of class 1 where its red is above `limit`, which is a view of something larger."""

    def forward(self, frame):
        limit = torch.tensor([100.0, 7.0, 9.0]).view(1, 3)[:, :1]
        above = frame[..., 0].float() > limit
        return above.byte(), above.float()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "red.pt2"
    metadata = {**METADATA, "outputs": ["labels", "confidence"], "torch": torch.__version__}
    write_torch(Red(), torch.zeros(6, 8, 3, dtype=torch.uint8), path, metadata)
    return path


@pytest.fixture
def street():
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, 4:, 0] = 220
    return image


def test_three_lines(path, street):
    seen = nightlab.load(path)(street)
    assert (seen.labels == (street[..., 0] > 100)).all() and seen.classes == METADATA["classes"]
    assert seen.scores.dtype == np.float32 and seen.labels.dtype == np.uint8 and seen.regions == []
    with pytest.raises(InputError, match="export with --size 6 6"):
        nightlab.load(path)(street[:, :6])


def test_the_file_holds_no_pickle_and_no_folder_of_this_machine(path, repository):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not content.startswith((b"PK", b"\x80\x02")), name
            assert str(repository).encode() not in content, name
            if name.endswith("_config.json"):
                assert not any(entry["use_pickle"] for entry in json.loads(content)["config"].values())


def test_detectron2_is_not_needed(path):
    code = f"""
import sys
for name in ("detectron2", "timm", "onnxruntime", "fvcore"):
    sys.modules[name] = None
import numpy, nightlab
assert nightlab.load({str(path)!r})(numpy.full((6, 8, 3), 200, numpy.uint8)).labels.all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_refused(path, tmp_path):
    (tmp_path / "text.pt2").write_text("no model")
    with zipfile.ZipFile(tmp_path / "other.pt2", "w") as archive:
        archive.writestr("other/models/model.json", "{}")
    for name in ("text.pt2", "other.pt2"):
        with pytest.raises(InputError, match="not a model of NightLab's"):
            nightlab.load(tmp_path / name)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "torn.pt2", "w") as torn:
        for name in archive.namelist():
            if "models/" not in name:
                torn.writestr(name, archive.read(name))
    with pytest.raises(InputError, match=r"torn\.pt2: torch .* cannot load it .* it was written by"):
        nightlab.load(tmp_path / "torn.pt2")
