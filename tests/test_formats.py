"""Spots in the formats of other programs: known files in, round trips by other readers."""

import csv
import json
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pandas as pd
import pytest
import roifile

from batches import needs_zarr
from blinkcore import io
from blinkcore.image import PixelSize

SIZES = {"T": 4, "C": 2, "Z": 3, "Y": 20, "X": 30}


@pytest.fixture
def spots():
    """One in each of three planes, at asymmetric places."""
    return pd.DataFrame(
        {
            "frame": [0, 0, 3], "channel": [0, 1, 1], "z": [0.0, 2.0, 1.0],
            "y": [7.25, 7.0, 3.5], "x": [5.0, 12.5, 9.0],
            "probability": [0.5, 0.75, 1.0], "sigma": [1.0, 1.5, 2.0],
            "localization_uncertainty": [0.125, 0.25, 0.5], "intensity": [10.0, 20.5, 30.0],
            "snr": [3.0, 4.5, 5.0], "track": [0, -1, 0],
        }
    )  # fmt: skip


@pytest.mark.parametrize("suffix", io.WRITERS)
def test_places_survive_a_round_trip(spots, tmp_path, suffix):
    needs_zarr(suffix)
    path = tmp_path / f"spots{suffix}"
    lost = io.write_spots(spots, path, sizes=SIZES)
    found = io.read_labels(path, sizes=SIZES)
    kept = [n for n in spots.columns if n not in lost]
    assert {"y", "x", "frame"} <= set(kept)
    by = ["frame", "y"]  # tracks stand together in some
    found, there = (t.sort_values(by).reset_index(drop=True) for t in (found, spots))
    pd.testing.assert_frame_equal(found[kept], there[kept], check_exact=False)
    assert set(found.columns) <= set(kept)


@pytest.mark.parametrize("suffix", io.WRITERS)
def test_no_spots_survive_too(tmp_path, suffix):
    needs_zarr(suffix)
    path = tmp_path / f"none{suffix}"
    io.write_spots(pd.DataFrame({"y": np.empty(0), "x": np.empty(0)}), path)
    assert len(io.read_labels(path)) == 0


def test_where_spots_lie_in_a_stack_needs_its_size(spots, tmp_path, caplog):
    with pytest.raises(ValueError, match="depends on its size; name the image"):
        io.write_spots(spots, tmp_path / "a.roi")
    io.write_spots(spots, tmp_path / "a.roi", sizes=SIZES)
    found = io.read_labels(tmp_path / "a.roi")
    assert "taken for z" in caplog.text
    assert found["z"].tolist() == [0, 5, 21]
    one = spots[["frame", "y", "x"]]
    io.write_spots(one, tmp_path / "t.roi")
    found = io.read_labels(tmp_path / "t.roi", sizes={"T": 4})
    pd.testing.assert_frame_equal(found, one)


@pytest.mark.parametrize("suffix", [".CSV", ".Parquet", ".XML", ".GeoJSON", ".ROI"])
def test_suffixes_may_be_large(tmp_path, suffix):
    spots = pd.DataFrame({"y": [1.5], "x": [2.5]})
    io.write_spots(spots, tmp_path / f"a{suffix}")
    found = io.read_labels(tmp_path / f"a{suffix}")
    pd.testing.assert_frame_equal(found[["y", "x"]], spots)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.geojson", '{"type": "FeatureCollection"}'),
        ("a.geojson", '{"type": "FeatureCollection", "features": [null]}'),
        ("a.geojson", ('{"type": "Feature", "geometry": {"type": "Point", '
         '"coordinates": ["a", "b"]}}')),
        ("a.json", '{"spots": [{"y": 1, "x": 2, "frame": null}]}'),
        ("a.json", '{"spots": [{"y": 1, "x": 2, "frame": 1.5}]}'),
        ("a.json", '{"spots": [{"y": 1, "x": 2, "frame": -1}]}'),
        ("a.csv", "y,x,frame\n1,2,0.5\n"),
        ("a.xml", ('<root><TrackContestISBI2012><particle><detection t="a" x="1" y="2" '
         'z="0"/></particle></TrackContestISBI2012></root>')),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_a_sentence_with_its_name(tmp_path, name, content):
    with pytest.raises(ValueError, match=name):
        io.read_labels(text(tmp_path, content, name))


def test_micrometres_of_z_need_the_distance_of_planes(tmp_path):
    path = text(tmp_path, "t,z,y,x\n0,4,1,2\n")
    with pytest.raises(ValueError, match="distance of planes is not known"):
        io.read_labels(path, unit="um", pixel_size=PixelSize(None, 0.5, 0.5))
    found = io.read_labels(path, unit="um", pixel_size=PixelSize(2.0, 0.5, 0.5))
    assert found[["z", "y", "x"]].to_numpy().tolist() == [[2, 2, 4]]


def test_an_unknown_suffix_is_refused(spots, tmp_path):
    with pytest.raises(ValueError, match="written as"):
        io.write_spots(spots, tmp_path / "a.xlsx")


# Each format by a second reader, so that two mistakes of ours cannot agree.


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_pandas_reads_our_tables(spots, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    io.write_spots(spots, path)
    if suffix == ".json":
        table = pd.DataFrame(json.loads(path.read_text("utf-8"))["spots"])
    else:
        table = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    pd.testing.assert_frame_equal(table[spots.columns], spots, check_dtype=False)


def test_roi_is_one_point_selection_with_places(spots, tmp_path):
    io.write_spots(spots, tmp_path / "a.zip", sizes=SIZES)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        (name,) = archive.namelist()
        roi = roifile.ImagejRoi.frombytes(archive.read(name))
    assert roi.roitype == roifile.ROI_TYPE.POINT
    np.testing.assert_allclose(roi.coordinates(), spots[["x", "y"]])
    # stack index, from 1: channel fastest, then z, then frame
    assert roi.counter_positions.tolist() == [1, 1 + 1 + 2 * 2, 1 + 1 + 2 * 1 + 6 * 3]


def test_a_plain_image_has_no_stack_positions(tmp_path):
    io.write_spots(pd.DataFrame({"y": [7.0], "x": [5.0]}), tmp_path / "a.roi")
    roi = roifile.ImagejRoi.fromfile(tmp_path / "a.roi")
    assert roi.counter_positions.tolist() == [0]
    np.testing.assert_allclose(roi.coordinates(), [[5.0, 7.0]])


def test_trackmate_has_calibrated_positions_and_the_image(spots, tmp_path):
    io.write_spots(
        spots, tmp_path / "a.xml", image=tmp_path / "my.tif", sizes=SIZES,
        pixel_size=PixelSize(0.5, 0.1, 0.2),
    )  # fmt: skip
    root = ET.parse(tmp_path / "a.xml").getroot()
    first = root.find("Model/AllSpots/SpotsInFrame[@frame='0']/Spot")
    assert float(first.get("POSITION_Y")) == pytest.approx(0.725)
    assert float(first.get("POSITION_X")) == pytest.approx(1.0)
    image = root.find("Settings/ImageData")
    assert image.get("filename") == "my.tif"
    assert (image.get("width"), image.get("nframes")) == ("30", "4")
    found = io.read_labels(tmp_path / "a.xml")
    np.testing.assert_allclose(found[["y", "x"]], spots[["y", "x"]])
    # What TmXmlReader asks for without a complaint, and where the wizard opens; seen in
    # TrackMate 7.11.1 and 8.1.6.
    assert root.find("GUIState").get("state") == "ChooseTracker"
    tracker = root.find("Settings/TrackerSettings")
    assert tracker.get("TRACKER_NAME") == "SIMPLE_SPARSE_LAP_TRACKER"
    for part in ("Linking", "GapClosing", "TrackSplitting", "TrackMerging"):
        assert tracker.find(f"{part}/FeaturePenalties") is not None
    for part in ("SpotAnalyzers", "EdgeAnalyzers", "TrackAnalyzers"):
        assert root.find(f"Settings/AnalyzerCollection/{part}") is not None
    assert root.find("DisplaySettings") is not None


def test_isbi_has_a_particle_for_each_track(tmp_path):
    table = pd.DataFrame(
        {"frame": [0, 1, 1], "y": [1.5, 2.5, 9.0], "x": [3, 4, 5], "track": [7, 7, -1]}
    )
    io.write_spots(table, tmp_path / "a.isbi.xml")
    particles = ET.parse(tmp_path / "a.isbi.xml").getroot().findall(".//particle")
    assert [len(p) for p in particles] == [2, 1]
    assert particles[0][1].attrib == {"t": "1", "x": "4.0", "y": "2.5", "z": "0.0"}


def test_qupath_counts_from_the_corner_of_the_first_pixel(spots, tmp_path):
    io.write_spots(spots, tmp_path / "a.geojson")
    content = json.loads((tmp_path / "a.geojson").read_text())
    geometry = content["features"][1]["geometry"]
    assert geometry["coordinates"] == [13.0, 7.5]
    assert geometry["plane"] == {"t": 0, "c": 1, "z": 2}
    # QuPath 0.4 to 0.7 refuse a class as an object without its colour.
    assert set(content["features"][1]["properties"]["classification"]) == {
        "name", "color"
    }  # fmt: skip
    io.write_spots(spots.assign(z=[0.0, 1.9999, 2.6]), tmp_path / "b.geojson")
    content = json.loads((tmp_path / "b.geojson").read_text())
    assert [f["geometry"]["plane"]["z"] for f in content["features"]] == [0, 2, 3]


def test_napari_has_an_axis_a_dimension(spots, tmp_path):
    io.write_spots(spots.drop(columns="channel"), tmp_path / "a.napari.csv")
    with (tmp_path / "a.napari.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [rows[2][f"axis-{i}"] for i in range(4)] == ["3", "1.0", "3.5", "9.0"]


# What others write.


def text(tmp_path, content, name="a.csv"):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("axis-0,axis-1\n1.5,2.5\n", {"y": 1.5, "x": 2.5}),  # U-FISH
        ("index,axis-0,axis-1,axis-2\n0,4,1.5,2.5\n", {"z": 4, "y": 1.5, "x": 2.5}),
        (
            "y,x,intensity,probability\n1.5,2.5,9,0.75\n",
            {"y": 1.5, "probability": 0.75},
        ),
        ("x,y,t,c,intensity\n2.5,1.5,1,2,9\n", {"x": 2.5, "frame": 0, "channel": 1}),
        ("t,z,c,y,x\n3,1,0,1.5,2.5\n", {"frame": 3, "z": 1, "y": 1.5}),
        (" ,X,Y,Ch,Slice,Frame\n1,2.5,1.5,1,3,2\n", {"y": 1.5, "z": 2, "frame": 1}),
        (" \tX\tY\n1\t2.5\t1.5\n", {"y": 1.5, "x": 2.5}),
    ],
)
def test_tables_of_other_programs(tmp_path, content, expected):
    (row,) = io.read_labels(text(tmp_path, content)).to_dict("records")
    assert {name: row[name] for name in expected} == expected


def test_positions_in_micrometers_need_the_size_of_a_pixel(tmp_path):
    path = text(tmp_path, " ,X,Y\n1,2.5,1.5\n")
    found = io.read_labels(path, unit="um", pixel_size=PixelSize(None, 0.5, 0.25))
    assert found[["y", "x"]].to_numpy().tolist() == [[3.0, 10.0]]
    with pytest.raises(ValueError, match="size of a pixel is not known"):
        io.read_labels(path, unit="um")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "a,b\n1,2\n", "no columns of positions"),
        ("a.csv", "y,x\n1,oops\n", "must hold numbers"),
        ("a.xml", "<a", "not valid XML"),
        ("a.xml", "<a/>", "neither of TrackMate"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "neither GeoJSON"),
        ("a.roi", "text", "not a selection"),
        ("a.zip", "text", "not a selection"),
    ],
)
def test_wrong_files_are_one_sentence(tmp_path, name, content, words):
    with pytest.raises(ValueError, match=words):
        io.read_labels(text(tmp_path, content, name))


def test_areas_are_no_points(tmp_path):
    roi = roifile.ImagejRoi.frompoints([[0, 0], [5, 0], [5, 5]])
    roi.roitype = roifile.ROI_TYPE.POLYGON
    roi.tofile(tmp_path / "a.roi")
    with pytest.raises(ValueError, match="no points but polygon"):
        io.read_labels(tmp_path / "a.roi")


@pytest.mark.parametrize(
    ("name", "n", "first"),
    [
        ("fiji_multipoint.csv", 20, (43.5, 43.0)),
        ("trackmate_before_7.0.csv", 11, (510.802594, 81.839185)),
        ("trackmate_7.0_plus.csv", 4, (3.997753, 63.999084)),
        ("trackmate_7.7_plus.csv", 6, (566.721367, 307.670334)),
        ("trackmate_tracks_with_splitting_merging.xml", 183, (112.285191, 104.458459)),
    ],
)
def test_real_label_files(shared, name, n, first):
    size = PixelSize(None, 0.1, 0.1)
    found = io.read_labels(shared / "labels" / name, pixel_size=size)
    assert len(found) == n
    np.testing.assert_allclose(found[["y", "x"]].iloc[0], first, atol=1e-6)


def test_the_session_file_and_its_table_agree(shared):
    stem = "trackmate_tracks_with_splitting_merging"
    session = io.read_labels(shared / "labels" / f"{stem}.xml")
    table = io.read_labels(shared / "labels" / f"{stem}_spots.csv")
    key = ["frame", "y", "x"]
    np.testing.assert_allclose(
        session.sort_values(key)[key], table.sort_values(key)[key], atol=1e-9
    )


def test_a_missing_measurement_is_no_error(tmp_path):
    spots = pd.DataFrame({"y": [1.5, 2.0], "x": [2.5, 3.0], "snr": [np.nan, 4.0]})
    io.write_spots(spots, tmp_path / "a.csv")
    found = io.read_labels(tmp_path / "a.csv")
    assert found["snr"].isna().tolist() == [True, False]
    io.write_spots(found.assign(sigma=np.nan), tmp_path / "a.geojson")
    assert "NaN" not in (tmp_path / "a.geojson").read_text()
    io.write_spots(found.assign(sigma=np.nan), tmp_path / "a.xml")
    assert "nan" not in (tmp_path / "a.xml").read_text()


def test_a_zip_without_a_selection_is_not_taken_for_no_spots(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", "y,x\n")
    with pytest.raises(ValueError, match="has no selection"):
        io.read_labels(tmp_path / "a.zip")


@pytest.mark.parametrize("axes", ["frame", "channel", "channel z", "frame channel"])
def test_napari_points_keep_what_their_axes_are(tmp_path, spots, axes):
    names = [*axes.split(), "y", "x"]
    io.write_spots(spots[names], tmp_path / "a.napari.csv")
    pd.testing.assert_frame_equal(
        io.read_labels(tmp_path / "a.napari.csv"), spots[names], check_exact=False
    )


def test_spots_beyond_their_image_are_refused(tmp_path, spots):
    with pytest.raises(ValueError, match="is it the image of these spots"):
        io.write_spots(spots, tmp_path / "a.roi", sizes={"T": 2, "C": 2, "Z": 3})


def test_columns_that_we_do_not_know_stay(tmp_path):
    path = text(tmp_path, "Gene,y,x,cell_id\nActb,1.5,2.5,7\n")
    found = io.read_labels(path)
    io.write_spots(found, tmp_path / "b.parquet")
    (row,) = io.read_labels(tmp_path / "b.parquet").to_dict("records")
    assert row == {"y": 1.5, "x": 2.5, "Gene": "Actb", "cell_id": 7}


def test_images_without_a_name_are_no_trouble(tmp_path):
    for content in ("image,y,x\n,1,2\n", "image,y,x\nNA,1,2\n"):
        found = io.read_labels(text(tmp_path, content))
        assert isinstance(found["image"].iloc[0], str)


def test_a_spot_of_a_person_has_no_quality_and_the_others_keep_theirs(tmp_path):
    spots = pd.DataFrame({"y": [1.0, 2], "x": [1.0, 2], "probability": [0.5, np.nan]})
    io.write_spots(spots, tmp_path / "a.xml")
    assert io.read_labels(tmp_path / "a.xml")["probability"].tolist() == [0.5, 0.0]


def test_a_place_between_planes_is_said_to_be_lost(tmp_path):
    spots = pd.DataFrame({"z": [0.5], "y": [1.0], "x": [2.0]})
    for suffix in (".roi", ".geojson"):
        lost = io.write_spots(spots, tmp_path / f"a{suffix}")
        assert "z between planes" in lost
