"""The plugin in the real napari, with its window under Xvfb."""

import subprocess
import sys
from importlib import resources

import numpy as np
import pandas as pd
import pytest
import tifffile

from batches import needs_zarr
from blinkcore import io, predict
from blinkcore.io.suffixes import LABELS
from blinkcore.napari import layers
from blinkcore.simulation.stacks import simulate_stack

pytestmark = [
    pytest.mark.slow,
    # Of other packages, when napari imports them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

OPEN_QT = "from qtpy.QtWidgets import QApplication; QApplication([])"


@pytest.fixture(scope="module")
def screen(display):
    """Let Qt draw on the display, or skip: where it lacks a library it ends Python."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DISPLAY", display)
    patch.setenv("QT_QPA_PLATFORM", "xcb")
    done = subprocess.run(
        [sys.executable, "-c", OPEN_QT], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"Qt cannot open a window here: {done.stderr.strip()[-200:]}")
    yield
    patch.undo()


@pytest.fixture
def viewer(screen):
    # Training imports PyTorch's compiler, whose copy of LLVM crashes once the one of a
    # graphics driver is loaded: other tests of this process need it before.
    import napari
    import torch._dynamo  # noqa: F401

    viewer = napari.Viewer(show=True)
    yield viewer
    viewer.close()


@pytest.fixture
def detection(viewer):
    _, widget = viewer.window.add_plugin_dock_widget("blinkcore", "Spot Detection")
    return widget


def run(detection):
    """Press the button and wait for the end."""
    from qtpy.QtWidgets import QApplication

    detection.start.changed.emit(True)
    assert detection.start.text == "Stop"
    while detection._worker is not None:
        QApplication.processEvents()


def test_npe2_finds_the_manifest_valid():
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "blinkcore", "--debug"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid" in done.stdout + done.stderr


def test_the_widget_finds_what_the_program_finds(viewer, detection, examples):
    pixels = tifffile.imread(examples / "cells.tif")
    viewer.add_image(pixels, name="cells", scale=(0.5, 0.5), translate=(3, 4))
    run(detection)
    (points,) = (layer for layer in viewer.layers if layer.name == "cells spots")
    expected = predict(pixels)
    np.testing.assert_allclose(points.data[points.shown], expected[["y", "x"]])
    assert len(expected) > 100
    np.testing.assert_allclose(points.scale, (0.5, 0.5))
    np.testing.assert_allclose(points.translate, (3, 4))
    assert detection.n_shown.value == f"{len(expected)} of {len(points.data)} shown"
    # Each ring has the colour of its probability.
    surest = points.features["probability"].to_numpy().argmax()
    least = points.features["probability"].to_numpy().argmin()
    assert not np.allclose(points.border_color[surest], points.border_color[least])


def test_axes_are_those_of_the_file(viewer, detection, tmp_path):
    pixels = np.zeros((3, 5, 2, 32, 40), np.uint16)
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TZCYX"})
    viewer.open(path, plugin="napari")
    assert detection.axes.value == "TZCYX"


def test_a_ring_lies_round_its_pixel(viewer):
    """The half-pixel question, answered by a picture."""
    from qtpy.QtWidgets import QApplication

    pixels = np.zeros((15, 15), np.uint8)
    pixels[5, 9] = 255
    viewer.add_image(pixels, colormap="green")
    data, options = layers.points_layer(pd.DataFrame({"y": [5.0], "x": [9.0]}), "s")
    viewer.add_points(data, **options | {"size": 2.0, "border_color": "red"})
    viewer.reset_view()
    QApplication.processEvents()
    drawn = viewer.screenshot(canvas_only=True).astype(int)
    red = np.argwhere((drawn[..., 0] > 200) & (drawn[..., 1] < 100))
    green = np.argwhere((drawn[..., 1] > 200) & (drawn[..., 0] < 100))
    side = np.ptp(green, axis=0).max() + 1  # of the bright pixel on the screen
    assert side > 20
    middles = [np.add(p.min(axis=0), p.max(axis=0)) / 2 for p in (red, green)]
    np.testing.assert_allclose(*middles, atol=0.1 * side)


def test_the_slider_hides_and_shows_at_once(viewer, detection, examples):
    viewer.open(str(examples / "cells.tif"))
    run(detection)
    viewer.layers["cells"].visible = False
    points = detection.spots.value
    sure = points.features["probability"].to_numpy()
    drawn = []
    for minimum in (0.2, 0.9, 1.0):
        detection.min_probability.value = minimum
        np.testing.assert_array_equal(points.shown, sure > minimum)
        picture = viewer.screenshot(canvas_only=True)[..., :3]
        drawn.append(int((picture.max(axis=2) > 0).sum()))
    assert drawn[0] > drawn[1] > drawn[2] == 0


def test_points_of_a_person_are_not_hidden(viewer, detection, examples):
    viewer.open(str(examples / "cells.tif"))
    run(detection)
    points = detection.spots.value
    points.add([10.0, 20.0])
    points.features.iloc[-1] = np.nan
    detection.min_probability.value = 1.0
    assert points.shown.sum() == 1


def test_a_stack_has_its_spots_in_their_planes(viewer, detection, scene):
    pixels = np.stack([scene.image, np.full_like(scene.image, 60)] * 2)
    viewer.add_image(pixels.reshape(2, 2, *scene.image.shape), name="stack")
    detection.axes.value = "TCYX"
    run(detection)
    points = detection.spots.value
    assert points.ndim == 4
    shown = points.data[points.shown]
    assert set(map(tuple, shown[:, :2])) == {(0, 0), (1, 0)}
    assert (shown[:, 0] == 0).sum() == len(predict(scene.image))


def test_a_spot_of_a_z_stack_is_one_point_as_in_the_program(viewer, detection):
    rng = np.random.default_rng(0)
    places = np.array([[6.0, 40.0, 40.0], [9.0, 90.0, 100.0], [6.5, 60.0, 120.0]])
    pixels = simulate_stack((16, 128, 160), places, rng).pixels
    viewer.add_image(pixels, name="stack")
    detection.axes.value = "ZYX"
    run(detection)
    points = detection.spots.value
    expected = predict(pixels, axes="ZYX")
    shown = points.data[points.shown]
    assert len(shown) == len(expected) == 3
    np.testing.assert_allclose(shown, expected[["z", "y", "x"]].to_numpy(), atol=1e-6)


def test_only_the_shown_plane_on_request(viewer, detection, scene):
    viewer.add_image(np.stack([scene.image] * 3), name="stack")
    viewer.dims.set_point(0, 1)
    detection.plane_only.value = True
    run(detection)
    assert set(detection.spots.value.data[:, 0]) == {1}


def test_an_image_without_spots_gives_an_empty_layer(viewer, detection):
    viewer.add_image(np.full((64, 64), 7, np.uint16), name="nothing")
    run(detection)
    assert detection.spots.value.name == "nothing spots"
    assert len(detection.spots.value.data) == 0


def test_what_cannot_be_searched_is_refused_in_a_sentence(viewer, detection):
    with pytest.raises(ValueError, match="open an image first"):
        detection._start_or_stop()
    viewer.add_image(np.zeros((16, 16, 3), np.uint8), rgb=True, name="photo")
    with pytest.raises(ValueError, match="photo is a colour picture"):
        detection._start_or_stop()
    viewer.add_image(np.zeros((4, 16, 16)), name="stack")
    detection.image.value = viewer.layers["stack"]
    detection.axes.value = "QYX"
    with pytest.raises(ValueError, match="axes must be"):
        detection._start_or_stop()


def test_stopping_keeps_the_viewer_usable(viewer, detection, scene):
    from qtpy.QtWidgets import QApplication

    viewer.add_image(np.stack([scene.image] * 50), name="long")
    detection.start.changed.emit(True)
    detection.start.changed.emit(True)
    while detection._worker is not None:
        QApplication.processEvents()
    assert detection.start.text == "Find spots"
    assert [layer.name for layer in viewer.layers] == ["long"]


def test_tables_are_opened_and_saved_by_napari_itself(viewer, tmp_path, scene):
    spots = predict(np.stack([scene.image] * 2), axes="TYX")
    io.write_spots(spots, tmp_path / "spots.csv")
    (points,) = viewer.open(str(tmp_path / "spots.csv"), plugin="blinkcore")
    np.testing.assert_allclose(points.data, spots[["frame", "y", "x"]], atol=1e-4)
    (saved,) = points.save(str(tmp_path / "again.csv"), plugin="blinkcore")
    again = io.read_labels(saved)
    pd.testing.assert_frame_equal(again, io.read_labels(tmp_path / "spots.csv"))


def test_napari_itself_opens_what_is_written_for_it(viewer, tmp_path, scene):
    spots = predict(np.stack([scene.image] * 2), axes="TYX")
    io.write_spots(spots, tmp_path / "spots.napari.csv")
    (points,) = viewer.open(str(tmp_path / "spots.napari.csv"), plugin="napari")
    np.testing.assert_allclose(points.data, spots[["frame", "y", "x"]])
    np.testing.assert_allclose(points.features["probability"], spots["probability"])


def test_hidden_points_are_not_saved(viewer, tmp_path):
    points = viewer.add_points(np.array([[1.0, 2.0], [3.0, 4.5]]))
    points.shown = [False, True]
    points.save(str(tmp_path / "p.csv"), plugin="blinkcore")
    kept = io.read_labels(tmp_path / "p.csv")
    assert kept.to_dict("list") == {"y": [3.0], "x": [4.5]}


def test_spots_in_a_folder_are_saved_and_opened(viewer, tmp_path):
    """SpatialData's points are a folder, which napari hands to us by its name."""
    needs_zarr(".spots.zarr")
    points = viewer.add_points(np.array([[1.0, 2.0], [3.0, 4.5]]))
    points.save(str(tmp_path / "p.spots.zarr"), plugin="blinkcore")
    (opened,) = viewer.open(tmp_path / "p.spots.zarr", plugin="blinkcore")
    np.testing.assert_allclose(opened.data, points.data)


def test_the_sample_is_a_scene_with_its_truth(viewer):
    image, truth = viewer.open_sample("blinkcore", "simulated")
    assert image.data.shape == (256, 256)
    assert len(truth.data) > 10


@pytest.mark.parametrize(
    "suffix", [".csv", ".parquet", ".json", ".xml", ".roi", ".spots.zarr"]
)
def test_a_reader_is_given_for_files_of_spots(tmp_path, suffix):
    needs_zarr(suffix)
    path = tmp_path / f"spots{suffix}"
    io.write_spots(pd.DataFrame({"y": [3.0, 5.5], "x": [4.0, 1.25]}), path)
    reader = layers.get_reader(str(path))
    (layer,) = reader(str(path))
    assert layer[2] == "points"
    np.testing.assert_allclose(layer[0][:, -2:], [[3, 4], [5.5, 1.25]], atol=1e-6)


def test_no_reader_is_given_for_other_files(tmp_path):
    (tmp_path / "prices.csv").write_text("item,price\nbread,3\n")
    (tmp_path / "a.json").write_text("{}")
    assert layers.get_reader(str(tmp_path / "prices.csv")) is None
    assert layers.get_reader(str(tmp_path / "a.json")) is None
    assert layers.get_reader(str(tmp_path / "none.csv")) is None
    assert layers.get_reader([str(tmp_path / "prices.csv")] * 2) is None


def test_a_table_of_two_images_opens_as_two_layers(tmp_path):
    table = pd.DataFrame(
        {"image": ["a/x.tif", "b/y.tif"], "y": [1.0, 2.0], "x": [3.0, 4.0]}
    )
    io.write_spots(table, tmp_path / "all.csv")
    made = layers.get_reader(str(tmp_path / "all.csv"))(str(tmp_path / "all.csv"))
    assert [options["name"] for _, options, _ in made] == ["x spots", "y spots"]


def test_linked_spots_open_as_tracks_too(tmp_path):
    table = pd.DataFrame(
        {"frame": [0, 1, 2, 0, 2], "y": [1.0, 2.0, 3.0, 9.0, 8.0], "x": [1.0] * 5,
         "track": [4, 4, 4, 7, -1]}
    )  # fmt: skip
    io.write_spots(table, tmp_path / "m.csv")
    points, tracks = layers.get_reader(str(tmp_path / "m.csv"))(str(tmp_path / "m.csv"))
    assert (points[2], tracks[2]) == ("points", "tracks")
    np.testing.assert_array_equal(
        tracks[0], [[4, 0, 1, 1], [4, 1, 2, 1], [4, 2, 3, 1], [7, 0, 9, 1]]
    )
    from napari.layers import Layer

    layer = Layer.create(*tracks)
    assert layer.ndim == 3


def test_points_come_back_as_they_went(scene):
    spots = predict(np.stack([scene.image] * 2), axes="ZYX")
    for axes in ("ZYX", "YZX"):
        data, options = layers.points_layer(spots, "s", axes)
        back = layers.spots_table(data, axes, options["features"])
        pd.testing.assert_frame_equal(back, spots)
    with pytest.raises(ValueError, match="2 to 5 dimensions"):
        layers.spots_table(np.zeros((1, 7)))


def test_places_are_those_of_the_points_whatever_features_say():
    features = pd.DataFrame({"y": [9.0, 9.0], "frame": [np.nan, 1], "y_um": [1.0, 1.0],
                             "track": [3.0, np.nan], "probability": [0.5, np.nan]})  # fmt: skip
    spots = layers.spots_table(np.array([[1.0, 2.0], [3.0, 4.0]]), "YX", features)
    assert spots["y"].tolist() == [1.0, 3.0]
    assert spots["track"].tolist() == [3, -1]
    assert "y_um" not in spots
    with pytest.raises(ValueError, match="finite"):
        layers.spots_table(np.array([[np.nan, 2.0]]), "YX")


def test_napari_offers_every_format_of_labels():
    import yaml

    manifest = resources.files("blinkcore.napari") / "napari.yaml"
    content = yaml.safe_load(manifest.read_text("utf-8"))
    (reader,) = content["contributions"]["readers"]
    assert sorted(reader["filename_patterns"]) == sorted(
        f"*{suffix}" for suffix in LABELS
    )
