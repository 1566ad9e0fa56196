from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

import blinkcore
from blinkcore import Image, PixelSize, predict
from blinkcore.detection.predict import find_spots
from blinkcore.evaluation.scores import evaluate, match
from blinkcore.network.calibration import Calibration
from blinkcore.network.model import load_model, save_model
from blinkcore.network.networks import DeepBlink
from blinkcore.simulation.scenes import simulate


def positions(spots):
    return spots[["y", "x"]].to_numpy()


@pytest.fixture(scope="module")
def precise():
    return load_model("precise", device="cpu")


@pytest.fixture(params=["general", "precise"])
def either(request):
    """Each of the models for any image."""
    return request.getfixturevalue(request.param)


def test_spots_are_found_where_they_are(either, scene):
    scores = evaluate(scene.points, positions(predict(scene.image, either)))
    assert scores.f1 > 0.9
    assert scores.rmse < 0.3


@pytest.mark.parametrize(("y", "x"), [(20, 45), (0, 0), (63, 95), (63, 0), (31, 95)])
def test_one_bright_spot_is_found_at_its_pixel(general, y, x):
    rng = np.random.default_rng(0)
    rows, cols = np.ogrid[:64, :96]
    light = 100 + 2000 * np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / (2 * 1.3**2))
    (spot,) = positions(predict(rng.poisson(light).astype(np.uint16), general))
    # Half of the light is missing at the border of the image.
    inside = 5 < y < 58 and 5 < x < 90
    assert np.hypot(*(spot - (y, x))) < (0.25 if inside else 0.8)


def test_a_path_an_array_and_an_image_give_the_same(general, scene, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, scene.image, photometric="minisblack")
    expected = predict(scene.image, general)
    assert len(expected) > 50
    for image in (path, str(path), Image(scene.image, "YX")):
        pd.testing.assert_frame_equal(predict(image, general), expected)


def test_a_model_by_name_equals_a_loaded_one(general, scene):
    pd.testing.assert_frame_equal(
        predict(scene.image), predict(scene.image, general, device="cpu")
    )


@pytest.mark.parametrize(
    ("either", "tile"),
    # `precise` sees 200 px far, and small tiles with such margins take long.
    [*(("general", side) for side in (32, 64, 100, 128)), ("precise", 100)],
    indirect=["either"],
)
def test_tiles_do_not_change_the_spots(either, tile):
    rng = np.random.default_rng(0)
    # Wide enough that no tile with its margin is the whole image.
    shape = (333, 257) if either.name == "general" else (300, 701)
    image = rng.poisson(50, shape).astype(np.float32)
    points = rng.uniform(0, shape, (700, 2))
    for y, x in points:  # crowded, and on every border of tiles
        rows, cols = np.ogrid[: shape[0], : shape[1]]
        image += 60 * np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / 3)
    whole = find_spots(image, either, threshold=0.3, tile=1024)
    tiled = find_spots(image, either, threshold=0.3, tile=tile)
    assert len(whole) == len(tiled) > 300
    whole, tiled = (s[np.lexsort(s[:, :2].round(2).T)] for s in (whole, tiled))
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8", ">u2"])
def test_the_pixel_type_does_not_matter(single, scene, dtype):
    # The last bits of float32 and 64 differ, and rounding to bfloat16 makes more of that.
    image = (scene.image // 4).clip(0, 255)
    expected = predict(image, single)
    found = predict(image.astype(dtype), single)
    np.testing.assert_allclose(positions(found), positions(expected), atol=1e-3)


def test_gain_and_offset_do_not_matter(general, scene):
    image = scene.image.astype(np.float64)
    found, same = predict(image, general), predict(image * 0.01 - 5, general)
    np.testing.assert_allclose(positions(found), positions(same), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3), (5, 2), (7, 9), (33, 1)])
@pytest.mark.parametrize("kind", ["constant", "noise", "nan"])
def test_tiny_images_have_an_answer(general, shape, kind):
    image = np.full(shape, {"constant": 7.0, "noise": 0.0, "nan": np.nan}[kind])
    if kind == "noise":
        image = np.random.default_rng(0).normal(100, 10, shape)
    spots = predict(image, general)
    assert list(spots.columns) == ["y", "x", "probability", "localization_uncertainty"]
    assert (spots["y"] < shape[0] - 0.5).all()
    assert (spots["x"] < shape[1] - 0.5).all()
    assert (spots[["y", "x"]] >= -0.5).all(axis=None)
    if kind != "noise":
        assert len(spots) == 0
        bright = image.copy()
        bright[shape[0] // 2, shape[1] // 2] = 1e4  # what is found lies inside, too
        found = predict(bright, general)
        assert found["y"].between(-0.5, shape[0] - 0.5).all()
        assert found["x"].between(-0.5, shape[1] - 0.5).all()


@pytest.mark.parametrize("shape", [(257, 319), (512, 130), (131, 640)])
def test_odd_sizes_keep_their_coordinates(general, shape):
    rng = np.random.default_rng(1)
    points = rng.uniform(6, np.array(shape) - 6, (25, 2))
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    light = np.full(shape, 100.0)
    for y, x in points:
        light += 250 * np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / (2 * 1.3**2))
    scores = evaluate(points, positions(predict(rng.poisson(light), general)))
    assert scores.recall > 0.9
    assert scores.rmse < 0.25


def test_not_a_number_and_infinity_do_no_harm(general, scene):
    image = scene.image.astype(np.float32)
    image[:40], image[60, 60], image[80, 90] = np.nan, np.inf, -np.inf
    found = positions(predict(image, general))
    kept = scene.points[scene.points[:, 0] > 45]
    assert evaluate(kept, found[found[:, 0] > 45]).recall > 0.85


def test_zero_spots_have_the_columns_of_many(general, scene):
    size = PixelSize(0.3, 0.1, 0.1)
    shape = (2, *scene.image.shape)
    for axes in ("TYX", "CYX", "ZYX"):
        full = predict(np.stack([scene.image] * 2), general, axes=axes, pixel_size=size)
        none = predict(np.zeros(shape), general, axes=axes, pixel_size=size)
        assert len(full) > 0
        assert len(none) == 0
        assert full.dtypes.to_dict() == none.dtypes.to_dict()


def test_every_plane_is_searched_alone(general, scene):
    empty = np.full_like(scene.image, 55)
    image = np.stack([empty, scene.image, empty, scene.image])
    stack = image.reshape(2, 2, *scene.image.shape)
    spots = predict(stack, general, axes="TZYX", z="planes")
    assert list(spots.columns) == [
        "frame", "z", "y", "x", "probability", "localization_uncertainty",
    ]  # fmt: skip
    assert set(zip(spots["frame"], spots["z"], strict=True)) == {(0, 1), (1, 1)}
    alone = predict(scene.image, general)
    found = spots[spots["frame"] == 1]
    np.testing.assert_allclose(positions(found), positions(alone))


def test_one_channel_can_be_chosen(general, scene):
    image = np.stack([np.full_like(scene.image, 55), scene.image], axis=-1)
    spots = predict(image, general, axes="YXC", channel=1)
    assert set(spots["channel"]) == {1}
    assert len(predict(image, general, axes="YXC", channel=0)) == 0


def test_micrometers_come_with_a_pixel_size(general, scene):
    spots = predict(scene.image, general, pixel_size=PixelSize(None, 0.2, 0.1))
    np.testing.assert_allclose(spots["y_um"], spots["y"] * 0.2)
    np.testing.assert_allclose(spots["x_um"], spots["x"] * 0.1)
    assert "z_um" not in spots


def test_a_higher_threshold_keeps_fewer_and_surer_spots(general, scene):
    image = np.random.default_rng(0).poisson(scene.image / 12)
    low, high = (predict(image, general, threshold=t) for t in (0.2, 0.9))
    assert len(high) < len(low)
    assert (high["probability"] > 0.9).all()


def test_fdr_chooses_for_all_planes_together(general, scene):
    noisy = np.random.default_rng(0).poisson(scene.image / 12)
    image = np.stack([noisy, noisy[::-1]])
    strict, loose = (predict(image, general, axes="TYX", fdr=f) for f in (0.02, 0.3))
    assert 0 < len(strict) < len(loose)
    for spots, fdr in ((strict, 0.02), (loose, 0.3)):
        assert (1 - spots["probability"]).mean() <= fdr


@pytest.mark.parametrize(
    "options", [{"fdr": 0.0}, {"fdr": 1.0}, {"fdr": 0.1, "threshold": 0.5}]
)
def test_fdr_must_be_a_share_and_alone(general, options):
    with pytest.raises(ValueError, match="fdr"):
        predict(np.zeros((8, 8)), general, **options)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 7.0, float("nan")])
def test_threshold_must_be_a_probability(general, threshold):
    with pytest.raises(ValueError, match="threshold must be in"):
        predict(np.zeros((8, 8)), general, threshold=threshold)


def test_stacks_need_axes(general):
    with pytest.raises(ValueError, match=r"axes must be given.*\(2, 8, 8\)"):
        predict(np.zeros((2, 8, 8)), general)
    with pytest.raises(ValueError, match="one letter"):
        predict(np.zeros((2, 8, 8)), general, axes="YX")


def test_a_network_that_sees_everything_runs_in_one_piece(tmp_path, scene, describe):
    network = DeepBlink((4, 4)).eval()
    save_model(network, describe(network), tmp_path / "m.pt")
    model = load_model(tmp_path / "m.pt")
    small = find_spots(scene.image, model, threshold=0.1, tile=32)
    whole = find_spots(scene.image, model, threshold=0.1)
    np.testing.assert_array_equal(small, whole)
    huge = np.broadcast_to(np.uint8(0), (5000, 5000))
    with pytest.raises(ValueError, match=r"in one piece.*5000 x 5000"):
        find_spots(huge, model, threshold=0.5)


def test_public_names_are_there():
    for name in blinkcore.__all__:
        assert callable(getattr(blinkcore, name))
    with pytest.raises(AttributeError, match="predcit"):
        _ = blinkcore.predcit


def test_real_particles_on_a_grid_are_found(either, shared):
    # 16 x 16 particles on a jittered grid, all plain to see, and a few of two halves.
    spots = predict(shared / "images" / "particles_c1.tif", either)
    assert 250 <= len(spots) <= 264


def test_hot_pixels_are_no_spots_and_narrow_spots_are(either):
    """One bright pixel is no light through a lens; a spot of sigma 0.8 px is."""
    rng = np.random.default_rng(5)
    places = rng.integers(8, 504, (75, 2))
    hot = rng.poisson(100, (512, 512))
    hot[tuple(places.T)] += 300
    assert len(predict(hot, either)) <= 2
    rows, cols = np.ogrid[:512, :512]
    grid = np.stack(np.meshgrid(np.arange(24, 490, 40), np.arange(24, 490, 40)), -1)
    points = grid.reshape(-1, 2) + rng.uniform(-0.5, 0.5, (144, 2))
    light = np.full((512, 512), 100.0)
    for y, x in points:
        light += 300 * np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / (2 * 0.8**2))
    found = positions(predict(rng.poisson(light), either))
    assert evaluate(points, found).recall > 0.97


@pytest.mark.slow
def test_no_place_in_a_cell_draws_spots_towards_it(either, easy):
    """Pixel locking: found less true, by where in its cell of 2 px a spot truly lies."""
    ranges = replace(easy, density=(4e-4, 4.1e-4), snr=(10.0, 10.1), sigma=(1.0, 1.8))
    places, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng([99, seed])
        scene = simulate((256, 256), rng, ranges=ranges)
        found = find_spots(scene.image, either, threshold=0.5)[:, :2]
        pairs = match(scene.points, found, cutoff=1.0)
        places.append((scene.points[pairs[:, 0]] + 0.5) % 2.0)
        errors.append(found[pairs[:, 1]] - scene.points[pairs[:, 0]])
    place, error = np.concatenate(places), np.concatenate(errors)
    assert len(place) > 700
    for axis in (0, 1):
        for octant in range(8):
            inside = (place[:, axis] // 0.25).astype(int) == octant
            assert abs(error[inside, axis].mean()) < 0.03
    assert np.abs(error.mean(axis=0)).max() < 0.01


@pytest.mark.slow
def test_the_precise_model_scores_higher_where_it_is_hard(general, precise, easy):
    ranges = replace(easy, density=(1.2e-2, 1.21e-2), snr=(4.0, 6.0))
    scores = []
    for seed in range(20):
        rng = np.random.default_rng([98, seed])
        scene = simulate((256, 256), rng, ranges=ranges)
        found = (positions(predict(scene.image, m)) for m in (general, precise))
        scores.append([evaluate(scene.points, f).f1_integral for f in found])
    fast, thorough = np.mean(scores, axis=0)
    assert thorough > fast + 0.01


def test_two_classes_of_brightness_are_cut_over_the_whole_series(single, easy):
    """A movie's dim frames are judged with its bright ones, unless `dim` is asked for."""
    bright = simulate((160, 160), np.random.default_rng(1), ranges=easy)
    metadata = replace(
        single.metadata, calibration=Calibration(-1.0, 1.0, 2.0), threshold=0.5
    )
    model = replace(single, metadata=metadata)
    movie = np.stack([bright.image, bright.image])
    both = predict(movie, model, axes="TYX")
    alone = predict(movie, model, axes="TYX", dim=True)
    counts = both.groupby("frame").size()
    assert counts[0] == counts[1]  # the same plane twice, one cut
    assert alone.attrs["dim_specks"] == 0
    assert both.attrs["dim_specks"] >= 0
    assert set(both.columns) == set(alone.columns)
