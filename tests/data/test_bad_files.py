"""A file that turns bad: its slot goes to another record, the same one whenever that slot is asked for."""

import json
from functools import partial

import pytest
import torch

from nightlab.data.bad_files import BAD_FILES, BESIDE, first_good, readable, replacements
from nightlab.data.loader import SlotDataset
from nightlab.engine.run import run
from nightlab.errors import InputError

from ..engine.test_run import arguments, config, weights  # noqa: F401 (config is a fixture)

RECORDS = [{"image_id": str(i), "train_set": i % 2} for i in range(8)]


def mapper(record, key):
    if record["image_id"] in ("2", "4"):
        raise InputError(f"{record['image_id']}.png: gone")
    return {"image_id": record["image_id"]}


def dataset(**changes):
    return SlotDataset(RECORDS, mapper, **({"batch_size": 4, "seed": 1, "stage": 0, "max_bad_files": 2} | changes))


def test_a_slot_of_a_bad_file_goes_to_another_of_its_set():
    data = dataset()
    slots = [(i, s) for i in range(6) for s in range(4)]
    items = {slot: data[slot] for slot in slots}
    bad = [slot for slot in slots if data.record_index(*slot) in (2, 4)]
    assert len(bad) == 6, "each of both once an epoch"
    assert all(BAD_FILES in items[slot] and items[slot]["image_id"] in ("0", "6") for slot in bad)
    assert all(BAD_FILES not in items[slot] for slot in slots if slot not in bad)
    assert all(dataset()[slot] == items[slot] for slot in reversed(slots)), "whatever came before"
    assert len({tuple(replacements(RECORDS, 0, (1, 0, i, 0))) for i in range(6)}) > 1


def test_too_many_bad_ones_raise_the_last_error():
    with pytest.raises(InputError, match=r"[24]\.png"):
        [dataset(max_bad_files=0)[i, s] for i in range(2) for s in range(4)]

    def bad(name):
        raise InputError(name)

    with pytest.raises(InputError, match=r"^c$"):
        first_good((lambda name=name: bad(name) for name in "abc"), limit=5)
    with pytest.raises(InputError, match=r"^b$"):
        first_good((lambda name=name: bad(name) for name in "abc"), limit=1)


def test_those_that_can_be_read(caplog):
    read = partial(mapper, key=())
    assert [x["image_id"] for x in readable(RECORDS, read, limit=2)] == list("013567")
    assert "left out: 2.png: gone" in caplog.text and "left out: 4.png: gone" in caplog.text
    with pytest.raises(InputError, match=r"^4\.png: gone$"):
        list(readable(RECORDS, read, limit=1))


def test_unpaired_crops_are_replaced_too():
    def draw(key):
        if len(key) == 4:
            raise InputError("day.png: gone")
        return key

    draw.file_name = lambda key: f"{key[4:]}.png"
    item = dataset(unpaired={"day": draw})[(0, 0)]
    assert item["day"] == (1, 0, 0, 0, 1) and "day.png: gone" in item[BAD_FILES]
    assert item[BESIDE] == ["(1,).png"], "the file that took its place"


def test_training_goes_on_without_a_bad_file_and_resumes_exactly(config, tmp_path, tiny_root):  # noqa: F811
    image = tiny_root / "images" / "a1.png"
    image.write_bytes(image.read_bytes()[:60])
    run(arguments(config, "DATASETS.TEST", "()"))
    out, resumed = tmp_path / "out", tmp_path / "resumed"
    assert (out / "log.txt").read_text().count("another image takes its place (bad file 1)") == 1
    counts = [json.loads(line).get("bad_files") for line in (out / "metrics.json").read_text().splitlines()]
    assert 1 in counts
    resumed.mkdir()
    (resumed / "model_0000001.pth").write_bytes((out / "model_0000001.pth").read_bytes())
    (resumed / "last_checkpoint").write_text("model_0000001.pth")
    run(arguments(config, "DATASETS.TEST", "()", "OUTPUT_DIR", str(resumed), resume=True))
    first, second = weights(out / "model_final.pth"), weights(resumed / "model_final.pth")
    assert all(torch.equal(first[key], second[key]) for key in first)
