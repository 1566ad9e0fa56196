import numpy as np
import pytest

from blinkcore.image import Image, PixelSize, as_pixel_size


def test_planes_walk_through_frames_channels_and_z():
    data = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    planes = list(Image(data, "TCZYX").planes())
    assert len(planes) == 24
    for plane in planes:
        np.testing.assert_array_equal(
            plane.data, data[plane.frame, plane.channel, plane.z]
        )
    assert [tuple(p[:3]) for p in planes[:5]] == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 0, 2),
        (0, 0, 3),
        (0, 1, 0),
    ]


def test_one_channel_is_chosen():
    data = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    image = Image(data, "CYX")
    (plane,) = image.planes(channel=1)
    assert plane.channel == 1
    np.testing.assert_array_equal(plane.data, data[1])
    assert (image.n_planes(), image.n_planes(channel=1)) == (2, 1)


@pytest.mark.parametrize("channel", [-1, 2])
def test_missing_channel_is_named(channel):
    image = Image(np.zeros((2, 3, 4)), "CYX")
    with pytest.raises(ValueError, match=f"no channel {channel}: it has 2, from 0"):
        list(image.planes(channel))


def test_a_plain_image_has_one_plane():
    (plane,) = Image(np.ones((3, 4)), "YX", PixelSize(None, 0.1, 0.1)).planes()
    assert tuple(plane[:3]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [
        ("YX", (2, 3, 4), "one letter per dimension"),
        ("QYX", (2, 3, 4), "letters out of TCZYX"),
        ("YYX", (2, 3, 4), "different letters"),
        ("TCZ", (2, 3, 4), "with Y and X"),
        ("YXT", (2, 3, 4), "order"),
        ("YX", (0, 4), "at least one pixel"),
    ],
)
def test_axes_must_fit(axes, shape, words):
    with pytest.raises(ValueError, match=words):
        Image(np.zeros(shape), axes)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (0.1, (None, 0.1, 0.1)),
        ((0.1, 0.2), (None, 0.1, 0.2)),
        ("0.3,0.1,0.2", (0.3, 0.1, 0.2)),
    ],
)
def test_the_size_of_a_pixel_has_up_to_three_numbers(given, size):
    assert as_pixel_size(given) == size
    with pytest.raises(
        ValueError, match="pixel_size must be one number in µm, two for"
    ):
        as_pixel_size((1, 2, 3, 4))


def test_complex_pixels_are_refused():
    with pytest.raises(TypeError, match="real numbers"):
        Image(np.zeros((2, 2), complex), "YX")
