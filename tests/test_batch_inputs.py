"""Which files are read, and what their results are called."""

import os
from pathlib import Path

import pytest

from blinkcore.batch.inputs import Input, find_inputs, output_names


def test_a_file_named_in_two_ways_is_read_once(folder):
    other = folder / "two" / ".." / "one" / "a.tif"
    inputs, _ = find_inputs([str(folder / "one" / "a.tif"), str(other)])
    assert len(inputs) == 1
    pair = [folder / "one" / "a.tif", folder / "one" / ".." / "two" / "a.tif"]
    names = output_names(find_inputs(map(str, pair))[0])
    assert {n.as_posix() for n in names.values()} == {"one/a.tif", "two/a.tif"}


@pytest.mark.parametrize("name", ["", " ", "x" * 300, "a\x00b"])
def test_impossible_names_stop_nothing(folder, name):
    inputs, errors = find_inputs([name, str(folder / "flat.tif")])
    assert len(inputs) == len(errors) == 1


def names_of(*paths):
    inputs = [Input(Path(p), p, Path(Path(p).name)) for p in paths]
    return [output_names(inputs)[Path(p)].as_posix() for p in paths]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/d/a.tif"], ["a"]),
        (["/d/a.tif", "/d/b.tif"], ["a", "b"]),
        (["/d/a.tif", "/d/a.png"], ["a.tif", "a.png"]),
        (["/d/1/a.tif", "/d/2/a.tif"], ["1/a.tif", "2/a.tif"]),
        (["/d/1/a.tif", "/d/2/a.tif", "/d/b.tif"], ["1/a.tif", "2/a.tif", "b"]),
        (["/d/A.tif", "/d/a.tif"], ["A.tif", "a.tif"]),
    ],
)
def test_two_files_of_one_name_never_collide(paths, expected):
    assert names_of(*paths) == expected


def test_globs_lists_of_files_and_repeats_give_each_file_once(folder):
    names = [str(folder / "one" / "*.tif"), str(folder / "one" / "a.tif"), str(folder)]
    inputs, errors = find_inputs(names, recursive=True)
    assert not errors
    assert [i.path.name for i in inputs] == ["a.tif", "broken.tif", "flat.tif", "a.tif"]


def test_folders_are_not_searched_deeper_unless_asked(folder):
    inputs, _ = find_inputs([str(folder)])
    assert [i.path.name for i in inputs] == ["broken.tif", "flat.tif"]


def test_names_that_mean_nothing_are_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    names = [str(tmp_path / n) for n in ("none.tif", "*.tif", "empty")]
    inputs, errors = find_inputs(names)
    assert not inputs
    assert [e.message.partition(" ")[2].partition(" ")[0] for e in errors] == [
        "there",
        "matches",
        "has",
    ]


def test_hidden_files_are_no_images(folder):
    (folder / "._flat.tif").write_bytes((folder / "flat.tif").read_bytes())
    inputs, _ = find_inputs([str(folder)])
    assert [i.path.name for i in inputs] == ["broken.tif", "flat.tif"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_in_a_circle_end(folder):
    (folder / "one" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "two" / "loop").symlink_to(folder, target_is_directory=True)
    inputs, errors = find_inputs([str(folder / "**" / "*.tif")])
    assert not errors
    assert len(inputs) == 4


def test_patterns_are_found_from_here_and_from_the_root(folder, monkeypatch):
    """`**` finds files at any depth, with absolute and with relative patterns."""
    below = {p.relative_to(folder).as_posix() for p in folder.rglob("*.tif")}
    monkeypatch.chdir(folder)
    for pattern in (f"{folder.as_posix()}/**/*.tif", "**/*.tif", "./**/*.tif"):
        inputs, errors = find_inputs([pattern])
        assert errors == []
        found = {
            Path(item.path).resolve().relative_to(folder.resolve()) for item in inputs
        }
        assert {path.as_posix() for path in found} == below


def test_a_name_without_an_image_says_which_files_are_read(tmp_path):
    (tmp_path / "empty").mkdir()
    _, (error,) = find_inputs([str(tmp_path / "empty")])
    assert ".tif .tiff" in error.message
    assert ".zarr" in error.message
