"""Spots of z-stacks: one row a spot, between planes."""

import numpy as np
import pytest
import tifffile

from batches import run
from blinkcore import predict
from blinkcore.batch.options import Options
from blinkcore.detection.axial import NEAR, places_in_z, planes_needed
from blinkcore.detection.objects import join_planes
from blinkcore.evaluation.scores import match
from blinkcore.io import read_image
from blinkcore.simulation.stacks import scattered, simulate_stack


@pytest.fixture(scope="module")
def stack():
    """Sixty spots in twenty-one planes of 192 px."""
    rng = np.random.default_rng(7)
    shape = (21, 192, 192)
    return simulate_stack(shape, scattered(shape, 60, 12.0, rng), rng)


def places(spots):
    return spots[["z", "y", "x"]].to_numpy()


def test_each_spot_of_a_stack_is_one_row(single, stack):
    spots = predict(stack.pixels, single, axes="ZYX")
    assert abs(len(spots) - 60) <= 1
    pairs = match(stack.points, places(spots), cutoff=1.0)
    assert len(pairs) == 60
    rows = predict(stack.pixels, single, axes="ZYX", z="planes")
    assert len(rows) > 4 * 60
    assert set(rows["z"]) <= set(range(21))
    assert {"z_uncertainty", "n_planes"} <= set(spots.columns) - set(rows.columns)


def test_places_lie_between_planes_and_know_how_well(single, stack):
    spots = predict(stack.pixels, single, axes="ZYX")
    pairs = match(stack.points, places(spots), cutoff=1.0)
    off = places(spots)[pairs[:, 1], 0] - stack.points[pairs[:, 0], 0]
    assert np.sqrt((off**2).mean()) < 2.0 * np.sqrt(
        (stack.cramer_rao[:, 0] ** 2).mean()
    )
    within = np.abs(off) < spots["z_uncertainty"].to_numpy()[pairs[:, 1]]
    assert 0.5 < within.mean() < 0.9  # 0.68, if it is a standard error


def test_spots_at_the_ends_of_a_stack_lie_in_its_planes(single, stack):
    ends = predict(stack.pixels[5:8], single, axes="ZYX")
    assert len(ends) > 10
    assert ends["z"].between(0, 2).all()
    assert ends["z"].isin([0, 2]).any()  # some are brightest beyond the end


def test_a_projection_has_no_z(single, stack):
    spots = predict(stack.pixels, single, axes="ZYX", z="max")
    assert "z" not in spots.columns
    pairs = match(stack.points[:, 1:], spots[["y", "x"]].to_numpy(), cutoff=1.5)
    assert len(pairs) >= 57


def test_the_projection_is_that_of_all_planes(tmp_path):
    from blinkcore.detection.projection import max_projection

    pixels = (
        np.random.default_rng(0).integers(0, 999, (2, 3, 4, 8, 9)).astype(np.uint16)
    )
    tifffile.imwrite(
        tmp_path / "s.tif", pixels, imagej=True, metadata={"axes": "TZCYX"},
        compression="zlib",
    )  # fmt: skip
    projected = max_projection(read_image(tmp_path / "s.tif"))
    assert projected.axes == "TCYX"
    np.testing.assert_array_equal(np.asarray(projected.data), pixels.max(axis=1))


def profile(*detections):
    """Candidates of each plane: (y, x, height) of each, sure and precise."""
    return [
        np.array([(y, x, 0.9, 0.1, h) for y, x, h in plane]).reshape(-1, 5)
        for plane in detections
    ]


def gaussians(*centres, width=1.2):
    def heights(plane, points):
        return np.array(
            [sum(100 * np.exp(-0.5 * ((plane - z) / width) ** 2) for z in centres)]
            * len(points)
        )

    return heights


def joined(heights, n_planes, missing=(), offset=0.0):
    planes = profile(
        *(
            [(10.0 + offset * z, 10.0, h)]
            if (h := heights(z, [0])[0]) > 5 and z not in missing
            else []
            for z in range(n_planes)
        )
    )
    return join_planes(planes, heights, threshold=0.5, noise=1.0)


def test_a_spot_missing_in_one_plane_stays_one():
    found = joined(gaussians(5.3), 11, missing={6})
    assert len(found.z) == 1
    assert found.z[0] == pytest.approx(5.3, abs=0.02)
    assert found.n_planes[0] == 5


def test_two_spots_above_each_other_stay_two():
    found = joined(gaussians(4.0, 9.0), 14)
    np.testing.assert_allclose(found.z, [4.0, 9.0], atol=0.15)


def test_a_spot_of_an_uneven_profile_is_not_parted():
    """A shallow valley is noise."""

    def heights(plane, points):
        return np.full(len(points), [0, 0, 50, 90, 80, 95, 60, 10, 0][plane], float)

    found = joined(heights, 9)
    assert len(found.z) == 1


def test_detections_beside_each_other_are_two_spots():
    planes = profile(*([(10.0, 10.0, 90.0), (10.0, 13.0, 80.0)] for _ in range(3)))
    found = join_planes(planes, gaussians(1.0), threshold=0.5, noise=1.0)
    assert len(found.z) == 2
    np.testing.assert_allclose(found.spots[:, 1], [10.0, 13.0])


def test_noise_of_one_plane_is_less_probable_than_a_spot():
    """Its neighbours show nothing, while other spots of the stack reach through three."""
    heights = gaussians(5.0)
    planes = profile(*([(10.0, 10.0, heights(z, [0])[0])] for z in range(11)))
    planes[5] = np.vstack([planes[5], [[30.0, 30.0, 0.55, 0.1, 60.0]]])

    def at(plane, points):
        own = heights(plane, points)
        alone = 60.0 if plane == 5 else 0.0
        return np.where(np.asarray(points)[:, 0] > 20, alone, own)

    found = join_planes(planes, at, threshold=0.5, noise=5.0)
    assert len(found.z) == 1
    found = join_planes(planes, at, threshold=0.1, noise=5.0)
    assert found.spots[:, 2].min() < 0.5


def test_profiles_at_the_ends_of_a_stack_have_a_place():
    apart = np.arange(-NEAR, NEAR + 1.0)
    full = 100 * np.exp(-0.5 * ((apart - 0.3) / 1.2) ** 2)
    cut = full.copy()
    cut[:NEAR] = np.nan
    axial = places_in_z(np.stack([full] * 9 + [cut]), 1.0)
    np.testing.assert_allclose(axial.z, 0.3, atol=1e-3)
    assert axial.width == pytest.approx(1.2, abs=1e-3)
    assert axial.uncertainty[9] > axial.uncertainty[0]


def test_wide_spots_of_a_stack_are_joined_at_their_own_scale(single, stack):
    """Four times as wide, and resampled: the same places in z as of narrow spots."""
    wide = np.repeat(np.repeat(stack.pixels, 4, axis=1), 4, axis=2)
    wide = np.random.default_rng(1).poisson(wide).astype(np.uint16)
    spots = predict(wide, single, axes="ZYX", scale=0.25)
    assert abs(len(spots) - 60) <= 2
    found = spots[["z", "y", "x"]].to_numpy()
    found[:, 1:] = (found[:, 1:] + 0.5) / 4 - 0.5
    pairs = match(stack.points, found, cutoff=1.5)
    assert len(pairs) >= 58
    off = found[pairs[:, 1], 0] - stack.points[pairs[:, 0], 0]
    assert off.std() < 0.25
    said = spots["z_uncertainty"].to_numpy()[pairs[:, 1]]
    assert 0.6 < off.std() / np.sqrt((said**2).mean()) < 1.5
    assert spots["n_planes"].median() > 3


def test_frames_and_channels_are_stacks_of_their_own(single, stack):
    pixels = np.stack([stack.pixels, np.full_like(stack.pixels, 100)])[None]
    spots = predict(pixels, single, axes="TCZYX")
    assert set(spots["channel"]) == {0}
    assert abs(len(spots) - 60) <= 1
    assert len(predict(pixels[:, 1:], single, axes="TCZYX")) == 0


def test_expected_counts_are_of_objects(general, stack, tmp_path):
    import json

    tifffile.imwrite(
        tmp_path / "s.tif", stack.pixels, imagej=True, metadata={"axes": "ZYX"}
    )
    (event,) = run([tmp_path / "s.tif"], Options(general, tmp_path / "out"))
    assert abs(event.spots - 60) <= 2
    about = json.loads((tmp_path / "out" / "s.json").read_text("utf-8"))
    (image,) = about["images"]
    assert image["real_spots"]["low"] <= 60 <= image["real_spots"]["high"]
    assert about["options"]["z"] == "objects"


def test_a_movie_saved_as_a_stack_is_noticed(general, tmp_path, scene, caplog):
    rng = np.random.default_rng(0)
    movie = rng.poisson(np.stack([scene.image.astype(float)] * 10)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", movie, imagej=True, metadata={"axes": "ZYX"})
    run([tmp_path / "m.tif"], Options(general, tmp_path / "out"))
    assert "saved with z for time, give --axes TYX" in caplog.text


def test_places_are_as_uncertain_as_they_are_wrong():
    """Fits of noisy profiles: the spread of the errors is the uncertainty, on average."""
    rng = np.random.default_rng(0)
    apart = np.arange(-NEAR, NEAR + 1.0)
    for noise, width in ((2.0, 1.2), (5.0, 1.6)):
        true = rng.uniform(-0.5, 0.5, 3000)
        heights = 100 * np.exp(-0.5 * ((apart - true[:, None]) / width) ** 2)
        axial = places_in_z(heights + rng.normal(0, noise, heights.shape), noise)
        assert axial.width == pytest.approx(width, rel=0.02)
        off = (axial.z - true) / axial.uncertainty
        assert off.mean() == pytest.approx(0.0, abs=0.06)
        assert 0.85 < off.std() < 1.05  # noise by chance low is not believed


def test_light_has_noise_of_its_own():
    """Shot noise: the variance of a height grows with it, and so does the uncertainty."""
    rng = np.random.default_rng(1)
    apart = np.arange(-NEAR, NEAR + 1.0)
    true = rng.uniform(-0.5, 0.5, 3000)
    heights = 2000 * np.exp(-0.5 * ((apart - true[:, None]) / 1.2) ** 2)
    noisy = rng.normal(heights, np.sqrt(5.0**2 + 3.0 * heights))
    axial = places_in_z(noisy, 5.0)
    off = (axial.z - true) / axial.uncertainty
    assert 0.85 < off.std() < 1.05
    # The weights are right: as certain as the bound of Cramér and Rao, within 5 %.
    slope = heights * (apart - true[:, None]) / 1.2**2
    light = heights / 2000
    matrix = [
        ((a * b) / (25 + 3 * heights)).sum(axis=1)
        for a, b in ((slope, slope), (slope, light), (light, light))
    ]
    bound = np.sqrt(matrix[2] / (matrix[0] * matrix[2] - matrix[1] ** 2))
    assert (axial.z - true).std() < 1.05 * np.sqrt((bound**2).mean())


def test_a_stack_without_noise_has_places_and_uncertainties():
    """Deconvolved or clipped: all that is no spot is 0."""
    apart = np.arange(-NEAR, NEAR + 1.0)
    heights = 500 * np.exp(-0.5 * ((apart - [[0.3]] * 20) / 1.2) ** 2)
    heights[heights < 5] = 0
    axial = places_in_z(heights, 0.0)
    np.testing.assert_allclose(axial.z, 0.3, atol=0.01)
    assert np.isfinite(axial.uncertainty).all()
    assert axial.uncertainty.max() < 0.05
    assert np.isfinite(axial.support).all()


def test_planes_that_lie_close_are_all_looked_at():
    assert [planes_needed(width) for width in (0.5, 2.0, 4.0, 30.0)] == [5, 5, 10, 20]
    asked = set()

    def heights_at(number, points):
        asked.add(number)
        return np.full(len(points), 100 * np.exp(-0.5 * ((number - 20.3) / 4) ** 2))

    planes = [np.empty((0, 5)) for _ in range(41)]
    for z in range(12, 30):
        height = heights_at(z, np.zeros((1, 2)))[0]
        planes[z] = np.array([[10.0, 10.0, 0.9, 0.1, height]])
    asked.clear()
    found = join_planes(planes, heights_at, threshold=0.5, noise=1.0)
    assert found.z == pytest.approx([20.3], abs=0.01)
    assert asked == set(range(10, 31))


def test_a_fragment_is_the_lower_of_two_in_other_planes():
    """A dim plane parts a spot; its lower part is no spot, whichever comes first."""
    heights = gaussians(4.0)
    for low, high in ((2, 4), (6, 4)):
        planes = profile(*([] for _ in range(9)))
        planes[low] = np.array([[10.6, 10.0, 0.9, 0.1, heights(low, [0])[0]]])
        for z in (high, high + (1 if low < high else -1)):
            planes[z] = np.array([[10.0, 10.0, 0.9, 0.1, heights(z, [0])[0]]])
        found = join_planes(planes, heights, threshold=0.5, noise=1.0)
        assert len(found.z) == 1
        assert found.spots[0, 0] == pytest.approx(10.0, abs=0.3)


def test_a_rate_of_false_spots_keeps_whole_rows(single, stack):
    """The surest objects, each with its own place and number of planes."""
    every = predict(stack.pixels, single, axes="ZYX", threshold=0.02)
    surest = predict(stack.pixels, single, axes="ZYX", fdr=0.02)
    assert 0 < len(surest) < len(every)
    columns = ["z", "y", "x", "probability", "n_planes", "z_uncertainty"]
    rows = surest[columns].merge(every[columns], how="left", indicator=True)
    assert (rows["_merge"] == "both").mean() > 0.95
    assert surest["probability"].min() > every["probability"].median()
