"""NightStreet: the same bytes from the same seed, one layout for every size and time, and every class to be learnt."""

import hashlib
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from nightlab.data.cityscapes import CLASSES, COLORS
from nightlab.data.nightstreet import NightStreet, Scene, kept, render
from nightlab.data.nightstreet import mesh as m
from nightlab.data.nightstreet.kept import kept_or_drawn
from nightlab.data.nightstreet.light import gather, irradiance
from nightlab.data.nightstreet.mesh import MeshBuilder
from nightlab.data.nightstreet.raster import Camera, rasterize
from nightlab.data.nightstreet.sensor import Sensor, expose
from nightlab.data.nightstreet.world import Light, World
from nightlab.errors import InputError

SIZE = (128, 256)


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.image.tobytes() + scene.label.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def labels() -> list[np.ndarray]:
    return [render(seed, SIZE).label for seed in range(60)]


def test_same_seed_gives_same_bytes():
    first = render(5, SIZE)
    np.random.seed(1)
    np.random.random(10)
    cv2.setRNGSeed(3)
    assert digest(render(5, SIZE)) == digest(first)
    assert digest(render(6, SIZE)) != digest(first)


def test_another_process_gives_same_bytes():
    code = (
        "import hashlib; from nightlab.data.nightstreet import render; s = render(7, (64, 128)); "
        "print(hashlib.sha256(s.image.tobytes() + s.label.tobytes()).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split()[-1] == digest(render(7, (64, 128)))


@pytest.mark.parametrize("time", ["night", "day"])
@pytest.mark.parametrize("size", [(128, 256), (97, 211), (45, 45), (256, 130), (33, 400)])
def test_any_size(size, time):
    for seed in range(3):
        scene = render(seed, size, time)
        assert scene.image.shape == (*size, 3) and scene.image.dtype == np.uint8
        assert scene.label.shape == size and scene.label.dtype == np.uint8
        assert set(np.unique(scene.label)) <= {*range(19), 255}
        assert scene.image.flags["C_CONTIGUOUS"] and scene.image.std() > 5


def test_many_seeds_can_be_drawn():
    for seed in range(1_000_000, 1_000_060):
        render(seed, (32, 64), "day" if seed % 3 == 0 else "night")


@pytest.mark.parametrize("seed", range(4))
def test_day_and_night_share_the_label(seed):
    night, day = render(seed, SIZE, "night"), render(seed, SIZE, "day")
    assert np.array_equal(night.label, day.label)
    assert night.image.mean() + 30 < day.image.mean()


def test_brightness_is_within_its_bands():
    for seed in range(20, 32):
        assert 25 <= render(seed, SIZE, "night").image.mean() <= 64
        assert 85 <= render(seed, SIZE, "day").image.mean() <= 150


@pytest.mark.parametrize("seed", range(4))
def test_twice_the_size_is_the_same_scene(seed):
    small, large = render(seed, SIZE), render(seed, (SIZE[0] * 2, SIZE[1] * 2))
    shrunk = cv2.resize(large.label, SIZE[::-1], interpolation=cv2.INTER_NEAREST)
    assert (shrunk == small.label).mean() > 0.95
    blurred = cv2.resize(large.image, (32, 16), interpolation=cv2.INTER_AREA).astype(float)
    same = cv2.resize(small.image, (32, 16), interpolation=cv2.INTER_AREA).astype(float)
    assert abs(blurred - same).mean() < 6


def test_every_class_appears_often_enough(labels):
    share = {name: np.mean([(label == k).any() for label in labels]) for k, name in enumerate(CLASSES)}
    assert all(share[name] >= (0.02 if name == "train" else 0.05) for name in CLASSES), share


def test_class_shares_are_those_of_streets(labels):
    pixels = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    share = dict(zip(CLASSES, pixels[:19] / pixels.sum(), strict=True))
    assert share["road"] > 0.25 and share["building"] > 0.12 and share["vegetation"] > 0.06
    for name in ("rider", "motorcycle", "bicycle", "traffic light"):
        assert 0.0002 < share[name] < 0.02, name
    assert pixels[255] < 0.05 * pixels.sum()


def test_riders_sit_on_two_wheelers(labels):
    near = 0
    riders = [label for label in labels if (label == m.RIDER).sum() > 20]
    for label in riders:
        around = cv2.dilate((label == m.RIDER).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        near += bool(np.isin(label[around], (m.BICYCLE, m.MOTORCYCLE)).any())
    assert riders and near >= 0.8 * len(riders)


@pytest.mark.parametrize("arguments", [(-1, SIZE, "night"), (0, (16, 64), "night"), (0, SIZE, "dusk")])
def test_what_cannot_be_drawn_is_refused(arguments):
    with pytest.raises(InputError, match="NightStreet"):
        render(*arguments)


# Scenes that are kept


def test_a_scene_is_kept_as_it_was_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("NIGHTSTREET_CACHE", str(tmp_path / "kept"))
    drawn = kept_or_drawn(3, SIZE, "night")
    (file,) = (tmp_path / "kept").rglob("*.npy")
    assert digest(drawn) == digest(render(3, SIZE, "night"))
    monkeypatch.setattr(kept, "render", None)
    assert digest(kept_or_drawn(3, SIZE, "night")) == digest(drawn), "drawn once"
    monkeypatch.setattr(kept, "render", render)
    whole = file.read_bytes()
    for torn in (b"", whole[:200], whole[:-1], b"no array", np.zeros(3).tobytes()):
        file.write_bytes(torn)
        assert digest(kept_or_drawn(3, SIZE, "night")) == digest(drawn)
        assert file.read_bytes() == whole, "and kept again"
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_folder_that_cannot_be_written_to_costs_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NIGHTSTREET_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert digest(kept_or_drawn(3, SIZE, "day")) == digest(render(3, SIZE, "day"))
    assert caplog.text.count("scenes cannot be kept") == 1


# The source


def test_splits_have_their_sizes_and_share_no_seed():
    source = NightStreet()
    count = {split: len(source.records(split)) for split in source.splits}
    assert count == {
        f"{time}_{part}": n for time in ("night", "day") for part, n in (("train", 2000), ("val", 100), ("test", 200))
    }
    seeds = {split: [r["scene"]["seed"] for r in source.records(split)] for split in source.splits}
    for part in ("train", "val", "test"):
        assert seeds[f"night_{part}"] == seeds[f"day_{part}"]
    different = {*seeds["night_train"], *seeds["night_val"], *seeds["night_test"]}
    assert len(different) == 2300


def test_records_are_read_as_the_scene_they_name():
    source = NightStreet(size=SIZE)
    record = source.records("night_val")[3]
    assert record["file_name"] == "nightstreet/night_val/000003"
    assert (record["height"], record["width"]) == SIZE
    assert record["source"] is source
    scene = render(record["scene"]["seed"], SIZE, "night")
    assert np.array_equal(source.read_image(record), scene.image)
    assert np.array_equal(source.read_label(record), scene.label)
    source.read_label(record)[:] = 0
    assert np.array_equal(source.read_label(record), scene.label)
    day = source.records("day_val")[3]
    assert np.array_equal(source.read_label(day), scene.label)
    assert not np.array_equal(source.read_image(day), scene.image)


def test_source_is_a_value():
    source = NightStreet()
    assert source == NightStreet("nightstreet", (256, 512)) and source != NightStreet(size=(128, 256))
    assert pickle.loads(pickle.dumps(source)) == source
    assert len({r["image_id"] for s in source.splits for r in source.records(s)}) == 4600
    assert source.classes == CLASSES and source.colors == COLORS and source.ignore_label == 255


def test_unknown_split_is_refused():
    with pytest.raises(InputError, match="night_train"):
        NightStreet().records("train")


# The parts


def square(label: int, **kwargs) -> MeshBuilder:
    builder = MeshBuilder(label, two_sided=True)
    builder.face([(-1, 0), (-1, 2), (1, 2), (1, 0)], **kwargs)
    return builder


def test_projection_by_hand():
    camera = Camera(height=1.5, focal=1.0, horizon=0.5)
    # 10 m ahead, 2 m right, on the ground: focal 100 px, so 20 px right of and 15 px below the middle (99.5, 49.5).
    pixel = camera.project(np.array([[2.0, 0.0, 10.0]]), (100, 200))
    np.testing.assert_allclose(pixel, [[119.5, 64.5]])
    rx, ry = camera.rays((100, 200))
    assert rx[120] == pytest.approx(0.205) and ry[64] == pytest.approx(-0.145)


def test_depth_and_order_of_what_is_drawn():
    world = World()
    world.ground([(-50, 1.2), (-50, 90), (50, 90), (50, 1.2)], m.ROAD, (0.1, 0.1, 0.1), m.ASPHALT)
    world.add(square(m.CAR).build(), 0, 10)
    world.add(square(m.BUS).build(), 0.5, 20)
    flat = world.flatten()
    assert flat.label.tolist() == [m.ROAD, m.BUS, m.CAR]
    camera = Camera(1.0, 1.0, 0.5)
    buffers = rasterize(flat, camera, (100, 200))
    assert flat.label[buffers.ids[50, 100] - 1] == m.CAR
    rx, ry = camera.rays((100, 200))
    at = buffers.plane[:, buffers.ids[50, 100]]
    assert 1 / (at @ (rx[100], ry[50], 1)) == pytest.approx(10, rel=1e-4)
    assert buffers.ids[10, 100] == 0
    assert flat.label[buffers.ids[90, 20] - 1] == m.ROAD


def test_pedestrian_beside_a_long_vehicle_stands_on_the_right_side_of_it():
    bus = MeshBuilder(m.BUS)
    bus.box((-1.2, 1.2), (0, 3), (-6, 6), 0)
    for x, hidden in ((1.0, False), (6.5, True)):
        world = World()
        world.add(bus.build(), 4, 16)  # from 10 to 22 m ahead, 2.8 to 5.2 m to the right
        world.add(square(m.PERSON).build(), x, 16)
        assert (world.flatten().label[-1] == m.BUS) == hidden


def test_too_near_is_left_out():
    world = World()
    assert not world.add(square(m.CAR).build(), 0, 0.5)
    assert world.add(square(m.CAR).build(), 0, 1.5)


def test_what_shows_through_a_fence_is_fence():
    world = World()
    world.add(square(m.CAR).build(), 0, 10)
    world.add(square(m.FENCE, material=m.BARS).build(), 0, 5)
    buffers = rasterize(world.flatten(), Camera(1.0, 1.0, 0.5), (64, 128))
    middle = (32, 64)
    assert world.flatten().label[buffers.ids[middle] - 1] == m.CAR
    assert world.flatten().label[max(buffers.ids[middle], buffers.veil[middle]) - 1] == m.FENCE


def test_lamp_light_falls_off_with_the_square_of_distance():
    up = np.array([[0, 1, 0]], np.float32)
    lamp = Light((0, 4, 0), np.array([160, 80, 0], np.float32))
    below = irradiance(np.zeros((1, 3), np.float32), up, 0.0, gather([lamp]))
    np.testing.assert_allclose(below, [[10, 5, 0]], rtol=1e-4)  # 160 / 4^2
    aside = irradiance(np.array([[3, 0, 0]], np.float32), up, 0.0, gather([lamp]))
    np.testing.assert_allclose(aside[0, 0], 160 / 25 * 4 / 5, rtol=1e-4)
    behind = Light((0, 4, 0), lamp.intensity, toward=(0, 1, 0))
    assert irradiance(np.zeros((1, 3), np.float32), up, 0.0, gather([behind])).max() == 0
    assert irradiance(np.zeros((2, 3), np.float32), up.repeat(2, 0), 0.0, gather([])).shape == (2, 3)


def test_exposure_meets_its_target_and_dark_pictures_are_noisier():
    ramp = np.linspace(0.01, 0.4, 128 * 64, dtype=np.float32).reshape(64, 128, 1).repeat(3, 2)
    shots = [expose(ramp.copy(), Sensor(40, gain, 0.0), np.random.default_rng(1)) for gain in (0.2, 2.0)]
    assert all(abs(shot.mean() - 40) < 6 for shot in shots)
    rough = [np.abs(np.diff(shot[..., 0].astype(float), axis=1)).mean() for shot in shots]
    assert rough[1] > 2 * rough[0]


def test_no_one_rides_into_a_vehicle():
    car = MeshBuilder(m.CAR)
    car.box((-0.9, 0.9), (0, 1.5), (-2, 2), 0)
    world = World()
    world.add(car.build(), 0, 10, yaw=np.pi / 2)  # across the road: from -2 to 2 in x, 9.1 to 10.9 in z
    assert world.taken(1.9, 10, 0.3) and world.taken(2.2, 10, 0.3)
    assert not world.taken(2.4, 10, 0.3) and not world.taken(0, 11.3, 0.3)
