"""Pickles of models are understood as PyTorch does, which builds what is dropped later."""

import pytest

from blinkcore.plain_pickle import Call, Global, parse, parse_model

HEAD, OBJECT, NAME = b"\x80\x02", b"c__torch__.m\nN\n)\x81", b"X\x01\0\0\0a"
STATE = b"}" + NAME + b"K\x01s"


def test_an_object_is_what_its_state_says():
    result, made = parse_model(HEAD + OBJECT + STATE + b"bq\0.")
    assert result == Call(Global("__torch__.m", "N"), (), {"a": 1})
    assert made == [Global("__torch__.m", "N"), result]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (OBJECT + b"q\0" + STATE + b"b.", "an object is named before its state"),
        (OBJECT + STATE + b"b" + STATE + b"b.", "a state without an object"),
        (OBJECT + STATE + b"bq\0(h\0" + STATE + b"bt.", "a state without an object"),
        (OBJECT + b".", "an object without a state"),
        (b"(" + OBJECT + b"t.", "an object without a state"),
        (OBJECT + b"K\x01b.", "a state without an object"),
        (b"}" + NAME + b"K\x01s" + NAME + b"K\x02s.", "a key is set twice"),
        (b"}(" + NAME + b"K\x01" + NAME + b"K\x02u.", "a key is set twice"),
        (b"ccollections\nOrderedDict\n)R" + NAME + b"K\x01s.", "a key is set twice"),
    ],
)
def test_what_pytorch_would_understand_otherwise_is_refused(content, said):
    """It has an object from its first state on, and cannot take a state back."""
    with pytest.raises(ValueError, match=said):
        parse_model(HEAD + content)


def test_a_dictionary_that_changes_after_its_object_was_made_does_not_change_it():
    late = b"h\0X\x01\0\0\0bK\x02s"
    content = HEAD + b"(" + OBJECT + b"}q\0" + NAME + b"K\x01s" + b"b" + late + b"t."
    result, _ = parse_model(content)
    assert result[0].state == {"a": 1}
    assert parse(HEAD + b"(" + OBJECT + b"}q\0" + NAME + b"K\x01sb" + late + b"t.")[0].state == {
        "a": 1, "b": 2,
    }  # fmt: skip
