"""Tracks of movies, from true and from detected positions."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import tifffile

from blinkcore.image import PixelSize
from blinkcore.io import read_image, read_labels
from blinkcore.tracking.link import LinkOptions, link
from blinkcore.tracking.motion import (
    diffusion,
    diffusion_of_track,
    mean_squared_displacement,
    track_table,
)
from programs import call_blinkcore

DIFFUSION, UNCERTAINTY = 0.2, 0.15  # px² a frame, px
PIXELS, TENTH = {"y": 1.0, "x": 1.0}, {"y": 0.1, "x": 0.1}


def walks(n=20, n_frames=60, seed=0, missing=0.0):
    """Diffusing spots far apart: frame, y, x, and the number of each."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.divmod(np.arange(n), 5), axis=1) * 50.0 + 25
    steps = rng.normal(0, np.sqrt(2 * DIFFUSION), (n_frames, n, 2))
    steps[0] = 0
    places = grid + steps.cumsum(axis=0) + rng.normal(0, UNCERTAINTY, (n_frames, n, 2))
    frame, number = np.meshgrid(np.arange(n_frames), np.arange(n), indexing="ij")
    y, x = places.reshape(-1, 2).T
    table = pd.DataFrame(
        {"frame": frame.ravel(), "y": y, "x": x, "number": number.ravel(),
         "probability": 0.9, "localization_uncertainty": UNCERTAINTY}
    )  # fmt: skip
    return table[rng.random(len(table)) >= missing].reset_index(drop=True)


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_each_walk_is_one_track(missing):
    spots, links = link(walks(missing=missing), LinkOptions(radius=4.0))
    assert spots.groupby("track")["number"].nunique().max() == 1
    assert spots["track"].nunique() == 20
    assert len(links) == len(spots) - 20
    first, second = links.T
    assert (
        spots["number"].to_numpy()[first] == spots["number"].to_numpy()[second]
    ).all()
    assert (spots["frame"].to_numpy()[first] < spots["frame"].to_numpy()[second]).all()


def test_channels_and_images_are_linked_apart():
    one = walks(n=5).assign(image="a", channel=0)
    spots, links = link(pd.concat([one, one.assign(channel=1), one.assign(image="b")]))
    assert spots["track"].nunique() == 15
    for name in ("image", "channel"):
        values = spots[name].to_numpy()
        assert (values[links[:, 0]] == values[links[:, 1]]).all()


def test_tracks_split_and_merge_when_asked():
    rows = [(t, 10.0, 10.0) for t in range(5)]
    rows += [(t, 10.0, 10.0 + 2 * (t - 4)) for t in range(5, 10)]
    rows += [(t, 10.0, 10.0 - 2 * (t - 4)) for t in range(5, 10)]
    table = pd.DataFrame(rows, columns=["frame", "y", "x"])
    spots, links = link(table, LinkOptions(radius=3.0, splitting=True))
    assert spots["track"].nunique() == 3
    assert len(links) == len(table) - 1
    alone, _ = link(table, LinkOptions(radius=3.0))
    assert alone["track"].nunique() == 2


def test_z_counts_by_its_own_size():
    rows = [(t, float(t), 10.0, 10.0) for t in range(4)]
    table = pd.DataFrame(rows, columns=["frame", "z", "y", "x"])
    near = link(table, LinkOptions(radius=2.0), pixel_size=PixelSize(0.1, 0.1, 0.1))
    far = link(table, LinkOptions(radius=2.0), pixel_size=PixelSize(0.5, 0.1, 0.1))
    assert near.spots["track"].nunique() == 1
    assert far.spots["track"].nunique() == 4


def test_the_diffusion_coefficient_has_no_part_of_the_localization():
    mean, low, high = diffusion(
        walks(n=20, n_frames=200).assign(track=lambda t: t["number"]),
        scale=PIXELS, interval=1.0,
    )  # fmt: skip
    assert low < DIFFUSION < high
    assert mean == pytest.approx(DIFFUSION, rel=0.1)


def test_units_of_length_and_time_count():
    table = walks().assign(track=lambda t: t["number"])
    px, *_ = diffusion(table, scale=PIXELS, interval=1.0)
    um, *_ = diffusion(table, scale=TENTH, interval=2.0)
    assert um == pytest.approx(px * 0.01 / 2)


def test_the_mean_squared_displacement_is_that_of_diffusion():
    table = walks(n=20, n_frames=200).assign(track=lambda t: t["number"])
    msd = mean_squared_displacement(table, scale=PIXELS, interval=1.0, n_lags=5)
    expected = 4 * DIFFUSION * msd["lag"]
    np.testing.assert_allclose(msd["msd_corrected"], expected, rtol=0.15)
    np.testing.assert_allclose(
        msd["msd"] - msd["msd_corrected"], 4 * UNCERTAINTY**2, rtol=1e-6
    )


def test_a_straight_track_is_described():
    rows = pd.DataFrame(
        {"frame": [0, 1, 3], "y": [0.0, 3.0, 3.0], "x": [0.0, 4.0, 4.0], "track": 7}
    )
    (row,) = track_table(rows, scale=TENTH, interval=2.0).to_dict("records")
    assert row["n_spots"] == 3
    assert row["duration"] == 6.0
    assert row["length"] == pytest.approx(0.5)
    assert row["displacement"] == pytest.approx(0.5)
    assert row["mean_speed"] == pytest.approx(0.5 / 6)
    assert np.isnan(row["diffusion"])
    assert np.isnan(diffusion_of_track(np.arange(3.0), np.zeros((3, 2)), 1.0))


def test_each_axis_has_its_own_scale_and_z_counts():
    rows = pd.DataFrame(
        {
            "frame": [0, 1],
            "z": [0.0, 3.0],
            "y": [0.0, 2.0],
            "x": [0.0, 12.0],
            "track": 0,
        }
    ).assign(localization_uncertainty=0.1, z_uncertainty=0.2)
    scale = {"z": 1.0, "y": 2.0, "x": 1.0}
    (row,) = track_table(rows, scale=scale, interval=1.0).to_dict("records")
    assert row["length"] == row["displacement"] == pytest.approx(13.0)
    msd = mean_squared_displacement(rows, scale=scale, interval=1.0)
    assert msd["msd"][0] == pytest.approx(169.0)
    noise = 2 * (0.2**2 + (2 * 0.1) ** 2 + 0.1**2)
    assert msd["msd_corrected"][0] == pytest.approx(169.0 - noise)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """Two channels, 20 frames of 2 s, pixels of 0.1 µm; and the true places."""
    from blinkcore.simulation.stacks import simulate_stack

    folder = tmp_path_factory.mktemp("movie")
    truth = [walks(n=9, n_frames=20, seed=seed) for seed in (0, 1)]
    rng = np.random.default_rng(0)
    frames = np.empty((20, 2, 200, 260), np.uint16)
    for channel, table in enumerate(truth):
        for t, own in table.groupby("frame"):
            points = np.column_stack([np.zeros(len(own)), own[["y", "x"]]])
            frames[t, channel] = simulate_stack((1, 200, 260), points, rng).pixels[0]
    tifffile.imwrite(
        folder / "m.tif", frames, imagej=True, resolution=(10, 10),
        metadata={"axes": "TCYX", "unit": "um", "finterval": 2.0},
    )  # fmt: skip
    return folder / "m.tif", truth


def test_the_time_between_frames_is_read(movie, tmp_path):
    path, _ = movie
    assert read_image(path).frame_interval == 2.0
    pixels = np.zeros((3, 16, 16), np.uint16)
    about = {"axes": "TYX", "TimeIncrement": 250, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata=about, ome=True)
    assert read_image(tmp_path / "a.ome.tif").frame_interval == 0.25
    tifffile.imwrite(tmp_path / "b.tif", pixels[0], photometric="minisblack")
    assert read_image(tmp_path / "b.tif").frame_interval is None


@pytest.mark.slow
def test_the_command_writes_tracks_that_trackmate_and_others_open(movie, tmp_path):
    path, _ = movie
    done = call_blinkcore("predict", path, "-o", tmp_path / "spots")
    assert done.returncode == 0, done.stderr
    done = call_blinkcore(
        "link", tmp_path / "spots", "-o", tmp_path / "tracks", "--radius", "0.4um",
        "--format", "csv,xml,geff", "--min-spots", "5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "m.channel0: 9 tracks" in done.stderr
    assert "µm²/s" in done.stderr
    spots = pd.read_csv(tmp_path / "tracks" / "m.csv")
    assert spots.groupby("channel")["track"].nunique().tolist() == [9, 9]
    for channel in (0, 1):
        root = ET.parse(tmp_path / "tracks" / f"m.channel{channel}.xml").getroot()
        assert root.find("Model").attrib == {
            "spatialunits": "micron",
            "timeunits": "sec",
        }
        image = root.find("Settings/ImageData")
        assert float(image.get("timeinterval")) == 2.0
        assert float(image.get("pixelwidth")) == 0.1
        tracks = root.findall("Model/AllTracks/Track")
        assert len(tracks) == 9
        n_edges = sum(len(track.findall("Edge")) for track in tracks)
        assert n_edges == (spots["channel"] == channel).sum() - 9
        times = {float(s.get("POSITION_T")) for s in root.iter("Spot")}
        assert times == {2.0 * t for t in range(20)}
        assert len(read_labels(tmp_path / "tracks" / f"m.channel{channel}.xml")) > 150
    described = pd.read_csv(tmp_path / "tracks" / "m.channel0.tracks.csv")
    assert described["duration"].max() == pytest.approx(38.0)
    assert set(described["length_unit"]) == {"µm"}
    import geff

    graph, about = geff.read(
        tmp_path / "tracks" / "m.channel0.geff", backend="networkx"
    )
    assert graph.number_of_nodes() == (spots["channel"] == 0).sum()
    assert graph.number_of_edges() == graph.number_of_nodes() - 9
    assert [axis.scale for axis in about.axes] == [2.0, 0.1, 0.1]
    assert [axis.unit for axis in about.axes] == ["frame", "pixel", "pixel"]
    scaled = ["second", "micrometer", "micrometer"]
    assert [axis.scaled_unit for axis in about.axes] == scaled


def test_sessions_have_what_those_of_trackmate_have(shared, tmp_path):
    """Names of elements and attributes of tracks, beside a file that TrackMate wrote."""
    from blinkcore.io import trackmate

    theirs = ET.parse(shared / "labels" / "trackmate_tracks_with_splitting_merging.xml")
    spots, links = link(walks(n=3, n_frames=4))
    trackmate.write_xml(spots, tmp_path / "a.xml", links=links)
    ours = ET.parse(tmp_path / "a.xml")
    for place, needed in (
        ("Model/AllTracks/Track", {"name", "TRACK_ID", "TRACK_INDEX", "NUMBER_SPOTS"}),
        (
            "Model/AllTracks/Track/Edge",
            {"SPOT_SOURCE_ID", "SPOT_TARGET_ID", "LINK_COST"},
        ),
        ("Model/FilteredTracks/TrackID", {"TRACK_ID"}),
    ):
        assert needed <= set(theirs.find(place).attrib)
        assert needed <= set(ours.find(place).attrib)
    ids = {spot.get("ID") for spot in ours.iter("Spot")}
    for edge in ours.iter("Edge"):
        assert {edge.get("SPOT_SOURCE_ID"), edge.get("SPOT_TARGET_ID")} <= ids


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv"], "none.csv"),
        (["a.csv"], "no column 'frame'"),
        (["m.csv", "--radius", "wide"], "--radius must be"),
        (["m.csv", "--radius", "0"], "radius must be above 0"),
        (["m.csv", "--radius", "1um"], "give --pixel-size"),
        (["m.csv", "--format", "doc"], "--format must be"),
        (["m.csv", "--frame-interval", "0"], "--frame-interval"),
        (["empty"], "no table of spots"),
    ],
)
def test_wrong_use_of_link_is_one_sentence(tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    pd.DataFrame({"y": [1.0], "x": [1.0]}).to_csv(tmp_path / "a.csv", index=False)
    walks(n=2, n_frames=3).to_csv(tmp_path / "m.csv", index=False)
    done = call_blinkcore("link", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_tables_of_one_frame_and_of_nothing_link(tmp_path):
    for rows in (0, 1):
        table = walks(n=1, n_frames=1).iloc[:rows]
        table.to_csv(tmp_path / "m.csv", index=False)
        done = call_blinkcore("link", "m.csv", "-o", "t", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(pd.read_csv(tmp_path / "t" / "m.csv")) == rows


def test_movies_link_although_a_still_lies_beside_them(tmp_path):
    (tmp_path / "s").mkdir()
    walks(n=2, n_frames=3).to_csv(tmp_path / "s" / "m.csv", index=False)
    pd.DataFrame({"y": [1.0], "x": [1.0]}).to_csv(
        tmp_path / "s" / "still.csv", index=False
    )
    done = call_blinkcore("link", "s", "-o", "t", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "still is not a movie: left out" in done.stderr
    assert (tmp_path / "t" / "m.csv").exists()
    # What link itself writes beside the spots is no table of spots.
    again = call_blinkcore("link", "t", "-o", "u", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_table_in_micrometres_needs_the_size_of_a_pixel(tmp_path):
    fiji = pd.DataFrame(
        {" ": [1, 2], "X": [1.0, 1.0], "Y": [2.0, 2.0], "Frame": [1, 2]}
    )
    fiji.to_csv(tmp_path / "m.csv", index=False)
    done = call_blinkcore(
        "link", "m.csv", "-o", "t", "--pixel-size", "0.5", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_motion_that_differs_by_rounding_alone_is_drawn(tmp_path):
    rows = [
        (50.0 * k, 10 + 0.1 * frame, frame)
        for k, n in enumerate((4, 7, 11))
        for frame in range(n)
    ]
    table = pd.DataFrame(rows, columns=["y", "x", "frame"])
    table.to_csv(tmp_path / "m.csv", index=False)
    done = call_blinkcore(
        "link", "m.csv", "-o", "t", "--frame-interval", "0.1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "m.motion.png").exists()
