import errno

import pytest

from blinkcore.files import atomic_write, error_sentence, escaped, files_in


def write_half(path):
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(KeyError):
        write_half(path)
    assert list(path.parent.iterdir()) == []
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_names_the_file_that_the_user_knows(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space left") as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error_sentence(caught.value) == f"{path}: No space left on device"


def test_an_error_that_is_only_a_message_keeps_it(tmp_path):
    with (
        pytest.raises(OSError, match="encoder error") as caught,
        atomic_write(tmp_path / "a.png"),
    ):
        raise OSError("encoder error -2 when writing image file")
    assert error_sentence(caught.value) == "encoder error -2 when writing image file"


def test_sentences_have_one_line():
    assert escaped("a\nb\tc\udcff") == "a\\nb\\tc\\udcff"
    assert error_sentence(MemoryError()) == "there is not enough memory for it"
    assert error_sentence(ValueError()) == "ValueError"


def test_hidden_files_are_not_listed(tmp_path):
    for name in ("b.tif", "a.TIF", "._a.tif", ".hidden.tif", "c.csv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d.tif").mkdir()
    names = [path.name for path in files_in(tmp_path, (".tif",))]
    assert names == ["a.TIF", "b.tif"]
