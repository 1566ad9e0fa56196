import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from blinkcore.simulation.ranges import GENERAL, SceneRanges
from blinkcore.simulation.scenes import simulate


def test_one_seed_gives_one_scene():
    one, same = (simulate((64, 80), np.random.default_rng(5)) for _ in range(2))
    other = simulate((64, 80), np.random.default_rng(6))
    np.testing.assert_array_equal(one.image, same.image)
    np.testing.assert_array_equal(one.points, same.points)
    assert not np.array_equal(one.image, other.image)


def test_truth_lies_in_the_image_and_images_are_integers():
    for seed in range(40):
        scene = simulate((70, 50), np.random.default_rng(seed))
        assert scene.image.shape == (70, 50)
        assert scene.image.dtype in (np.uint8, np.uint16)
        assert (scene.points >= -0.5).all()
        assert (scene.points < [69.5, 49.5]).all()
        assert len(scene.snr) == len(scene.points)


@pytest.mark.parametrize(
    "kind", [None, "p_airy", "p_elliptical", "p_defocused", "p_resampled"]
)
def test_light_lies_where_the_truth_says(easy, kind):
    ranges = easy if kind is None else dataclasses.replace(easy, **{kind: 1.0})
    ranges = dataclasses.replace(ranges, density=(5e-4, 5.1e-4))
    errors = []
    for seed in range(15):
        scene = simulate((128, 128), np.random.default_rng(seed), ranges=ranges)
        pixels = scene.image.astype(float) - np.median(scene.image)
        for y, x in scene.points:
            near = np.hypot(*(scene.points - (y, x)).T) < 16
            if near.sum() > 1 or not (8 < y < 119 and 8 < x < 119):
                continue
            row, col = round(y), round(x)
            window = pixels[row - 5 : row + 6, col - 5 : col + 6]
            cy, cx = ndimage.center_of_mass(np.maximum(window, 0))
            errors.append((row - 5 + cy - y, col - 5 + cx - x))
    # A centroid among noise: 0.3 px each, so 0.06 px for the mean of 30 and more.
    assert len(errors) > 20
    assert np.abs(np.mean(errors, axis=0)).max() < 0.15


def test_empty_scenes_are_empty():
    ranges = dataclasses.replace(GENERAL, p_empty=1.0)
    assert simulate((64, 64), np.random.default_rng(0), ranges=ranges).points.shape == (
        0,
        2,
    )


def test_snr_is_what_is_asked_for(easy):
    ranges = dataclasses.replace(easy, snr=(7.0, 7.0001), intensity_spread=(0.0, 1e-9))
    scene = simulate((128, 128), np.random.default_rng(0), ranges=ranges)
    np.testing.assert_allclose(scene.snr, 7.0, rtol=1e-3)


PROBABILITIES = [
    f.name for f in dataclasses.fields(SceneRanges) if f.name.startswith("p_")
]


@pytest.mark.parametrize("name", PROBABILITIES)
def test_each_probability_does_something(name):
    """One alone, always or never: the scenes of the same seed differ."""
    needed = {"p_8bit": 1.0} if name == "p_jpeg" else {}  # a JPEG has 8 bits
    never = SceneRanges(**dict.fromkeys(PROBABILITIES, 0.0) | needed)
    always = dataclasses.replace(never, **{name: 1.0})
    for seed in range(6):
        without, scene = (
            simulate((96, 96), np.random.default_rng(seed), ranges=ranges)
            for ranges in (never, always)
        )
        assert scene.image.shape == without.image.shape == (96, 96)
        assert scene.points.min(initial=0) >= -0.5
        assert scene.points.max(initial=0) < 95.5
        if not np.array_equal(scene.image, without.image):
            return
    pytest.fail(f"{name} changes nothing")


def test_all_probabilities_can_be_one():
    everything = dict.fromkeys(set(PROBABILITIES) - {"p_empty"}, 1.0)
    scene = simulate(
        (96, 96), np.random.default_rng(1), ranges=SceneRanges(**everything)
    )
    assert len(np.unique(scene.image)) > 10


def test_presets_keep_their_scenes():
    """Their seeds give the scenes of version 0.1, bit for bit."""
    import hashlib

    from blinkcore.simulation.presets import PRESETS

    known = {
        "particle": "c1d6b9064cd6a41b",
        "vesicle": "17e5724aa9cbb982",
        "receptor": "6cbe72d8687c1482",
        "microtubule": "dda548ffddb41c8d",
        "smfish": "886dedb3ee168850",
        "suntag": "d9fc0d82c1d3969e",
    }
    for name, digest in known.items():
        found = hashlib.sha256()
        for seed in range(4):
            rng = np.random.default_rng(seed)
            scene = simulate((96, 80), rng, ranges=PRESETS[name])
            found.update(scene.image.tobytes())
            found.update(scene.points.tobytes())
        assert found.hexdigest()[:16] == digest, name


def test_what_nobody_would_see_is_not_labelled(easy):
    ranges = dataclasses.replace(easy, snr=(0.3, 0.31))
    strict = dataclasses.replace(ranges, min_contrast=4.0)
    every = simulate((128, 128), np.random.default_rng(0), ranges=ranges)
    seen = simulate((128, 128), np.random.default_rng(0), ranges=strict)
    assert len(every.points) > 20
    assert len(seen.points) < 0.2 * len(every.points)
    bright = dataclasses.replace(strict, snr=(12.0, 12.1))
    lone = simulate((128, 128), np.random.default_rng(0), ranges=bright)
    assert len(lone.points) > 20


def test_saturated_spots_have_flat_tops(easy):
    ranges = dataclasses.replace(easy, p_flat_tops=1.0)
    scene = simulate((128, 128), np.random.default_rng(1), ranges=ranges)
    assert (scene.image == scene.image.max()).sum() > 3 * len(scene.points)


def test_specks_are_dimmer_than_spots_and_not_labelled(easy):
    from blinkcore.simulation.scenes import draw_specks

    ranges = dataclasses.replace(easy, p_specks=1.0)
    rng = np.random.default_rng(2)
    peak = np.full(50, 100.0)
    specks = draw_specks((256, 256), 1.3, peak, rng, ranges)
    assert len(specks.points) > 10
    assert specks.peak.max() <= 100 * ranges.speck_height[1]
    none = draw_specks((256, 256), 1.3, peak[:2], rng, ranges)
    assert len(none.points) == 0
