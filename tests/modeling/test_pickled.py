"""What torch saves is let through; what stands for much more than it is, is not."""

import zipfile

import pytest
import torch

from nightlab.modeling.pickled import check_saved


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_pass(tmp_path, zipped):
    model = torch.nn.Sequential(*[torch.nn.Conv2d(3, 3, 1) for _ in range(50)])
    optimizer = torch.optim.AdamW([{"params": [each]} for each in model.parameters()])
    model(torch.zeros(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    tied = {"a": model[0].weight, "b": model[0].weight}
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "tied": tied}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    check_saved(tmp_path / "a.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("pair", [lambda x: (x, x), lambda x: [x, x], lambda x: {"a": x, "b": x}])
def test_what_has_no_end(tmp_path, zipped, pair):
    value = pair(1)
    for _ in range(50):
        value = pair(value)
    torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="refers more than 16 times"):
        check_saved(tmp_path / "a.pth")


def test_compressed_archives(tmp_path):
    torch.save({"a": torch.zeros(9000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="is compressed"):
        check_saved(tmp_path / "b.pth")
    # torch goes by the first bytes: an archive at the end of something else is none.
    (tmp_path / "c.pth").write_bytes(b"}." * 5 + (tmp_path / "b.pth").read_bytes())
    check_saved(tmp_path / "c.pth")
