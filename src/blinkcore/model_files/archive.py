"""Check what a TorchScript file holds before PyTorch loads it.

Loading a TorchScript file can run code in the file, and TorchScript can write and read
files. So sizes, names and code are checked first, and of the code only what
convolutional networks need is allowed. PyTorch is then given a new archive with nothing
but what was checked, because two programs may see different files in one zip file.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from typing import Any

from blinkcore import limits, plain_pickle
from blinkcore.model_files.script_code import check_code, check_purpose
from blinkcore.model_files.script_types import PARAMETER, TENSOR, check_types

# Bytes of one number of each kind of storage.
_ITEM_SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1,
    "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_HOOKS = ("collections", "OrderedDict")
_FUNCTIONS = frozenset(
    {
        TENSOR,
        PARAMETER,
        ("collections", "OrderedDict"),
        ("torch.jit._pickle", "build_intlist"),
        ("torch.jit._pickle", "build_doublelist"),
        ("torch.jit._pickle", "build_boollist"),
        ("torch.jit._pickle", "build_tensorlist"),
        ("torch.jit._pickle", "restore_type_tag"),
    }
)


def checked(content: bytes, metadata: str) -> tuple[bytes, bytes]:
    """Check a TorchScript file and write it anew with only what was checked.

    Parameters
    ----------
    content : bytes
        Of the file.
    metadata : str
        Name of the extra file in it that describes the model.

    Returns
    -------
    (bytes, bytes)
        A TorchScript file of the same network, without extra files, and the metadata, empty
        where there are none.

    Raises
    ------
    ValueError
        If it is not a TorchScript file, is damaged, exceeds a limit, or its code does
        what no network needs; the message says which.
    """
    members = members_of(content)
    code = {n: c for n, c in members.items() if n.startswith("code/")}
    pickles = {n: checked_pickle(n, members) for n in ("data", "constants")}
    limits.check(
        sum(map(len, code.values())), limits.MODEL_CODE, "its code has {} bytes"
    )
    # PyTorch writes no others, and a function of `code/x.py` could pass for a method of x.
    others = [
        n for n in code if not n.startswith(("code/__torch__/", "code/__torch__."))
    ]
    if others:
        raise ValueError(f"its code has an odd name {others[0]!r}")
    texts = {name: _text(text, name) for name, text in code.items()}
    trees = check_code(texts, pickles["data"])
    check_purpose(texts)
    try:
        check_types(trees, pickles["data"], pickles["constants"])
    except RecursionError as error:
        raise ValueError("its types are nested too deep") from error
    return _archive(members), about_in(members, metadata)


def about_in(members: dict[str, bytes], metadata: str) -> bytes:
    """Return what a model says about itself, empty if nothing; ValueError if too much."""
    about = members.get(f"extra/{metadata}", b"")
    limits.check(len(about), limits.MODEL_METADATA, f"its {metadata} has {{}} bytes")
    return about


def metadata_of(content: bytes, metadata: str) -> bytes:
    """Read the metadata of a file that need not be checked, because it is one of ours."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        return archive.read(f"{folder}/extra/{metadata}")


def members_of(content: bytes) -> dict[str, bytes]:
    """Read what a TorchScript file holds, by name without the archive's own folder.

    Raises
    ------
    ValueError
        If it is not a TorchScript file, is damaged, or exceeds a limit.
    """
    limits.check(len(content), limits.MODEL, "the file has {} bytes")
    try:
        members = _members(content)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError,
            NotImplementedError, RuntimeError, struct.error) as error:  # fmt: skip
        raise ValueError(
            f"it is not a TorchScript file, or damaged: {error}"
        ) from error
    has_code = any(name.startswith("code/") for name in members)
    if "data.pkl" not in members or "constants.pkl" not in members or not has_code:
        raise ValueError("it is not a TorchScript file")
    return members


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        limits.check(len(infos), limits.MODEL_MEMBERS, "it holds {} files")
        unpacked = sum(info.file_size for info in infos)
        limits.check(unpacked, limits.MODEL, "it unpacks to {} bytes")
        if unpacked > limits.EXPANDED_MODEL:
            ratio = unpacked / max(1, sum(info.compress_size for info in infos))
            limits.check(
                ratio, limits.MODEL_EXPANSION, "it unpacks to {} times its size"
            )
        members: dict[str, bytes] = {}
        known: set[str] = set()
        for info in infos:
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is packed in a way that PyTorch does not know")
            name = info.filename.partition("/")[2]
            if not _is_needed(name):
                continue
            if name.lower() in known:
                raise ValueError(f"it holds two files named {name}")
            known.add(name.lower())
            with archive.open(info) as file:
                # A header may lie about the size.
                members[name] = file.read(info.file_size + 1)
    return members


def _is_needed(name: str) -> bool:
    """Return whether a file of the archive is needed to run the network, or describes it."""
    folder, _, rest = name.partition("/")
    if folder in ("data", "constants", "extra"):
        return bool(rest)
    if folder == "code":
        return name.endswith(".py")
    # Newer operators have PyTorch put the version of its format into `.data`.
    return name in (
        "data.pkl", "constants.pkl", "version", ".data/version", "byteorder"
    )  # fmt: skip


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"its code {name} is damaged") from error


def checked_pickle(name: str, members: dict[str, bytes]) -> Any:
    """Read a pickle as data; check what it constructs, and that its tensors are there.

    Parameters
    ----------
    name : {"data", "constants"}
        Of the pickle.
    members : dict
        What the file holds, as of `members_of`.

    Returns
    -------
    object
        As of `blinkcore.plain_pickle.parse_model`.

    Raises
    ------
    ValueError
        If it is damaged, or constructs what no network needs.
    """
    try:
        return _checked_pickle(name, members)
    except (TypeError, LookupError, AttributeError) as error:
        # Records of another form than PyTorch writes.
        raise ValueError(f"its pickles are damaged: {error}") from error


def _checked_pickle(name: str, members: dict[str, bytes]) -> Any:
    parsed = plain_pickle.parse_model(members[f"{name}.pkl"])
    _check_use(parsed)
    storages: set[Any] = set()
    for value in parsed.made:
        if isinstance(value, plain_pickle.Global):
            _check_name(value)
        elif isinstance(value, plain_pickle.Persistent):
            _check_storage(value.key, name, members)
            # PyTorch would read the numbers once more for each reference.
            if value.key[2] in storages:
                raise ValueError("it refers to a tensor's numbers twice")
            storages.add(value.key[2])
        elif not isinstance(value.function, plain_pickle.Global):
            raise TypeError("it calls what has no name")
        elif (value.state is None) != (value.function in _FUNCTIONS):
            raise ValueError(f"it constructs {value.function.name} in an odd way")
        elif value.function == TENSOR:
            _check_tensor(value.arguments)
        elif value.function == PARAMETER:
            _check_parameter(value.arguments)
        elif value.function == _HOOKS and value.arguments != ():
            raise TypeError("an ordered dictionary with something in it")
    return parsed.result


def _check_use(parsed: plain_pickle.Parsed) -> None:
    """Refuse what is made and dropped again: nothing would compare it with its type."""
    todo, used = [parsed.result], set()
    while todo:
        value = todo.pop()
        if id(value) not in used:
            used.add(id(value))
            todo += plain_pickle.parts_of(value)
    kinds = (plain_pickle.Call, plain_pickle.Persistent)
    if any(isinstance(one, kinds) and id(one) not in used for one in parsed.made):
        raise ValueError("its pickles make what they do not use")


def _check_name(value: plain_pickle.Global) -> None:
    # PyTorch reads names as types, in which blanks do not count.
    if not (_NAME.fullmatch(value.module) and _NAME.fullmatch(value.name)):
        raise ValueError("it constructs something with an odd name")
    ours = value.module.split(".")[0] == "__torch__"
    if ours and not f"{value.module}.{value.name}".startswith(
        "__torch__.torch.classes"
    ):
        return
    if value in _FUNCTIONS or (value.module == "torch" and value.name in _ITEM_SIZES):
        return
    raise ValueError(
        f"it constructs {value.module}.{value.name}, which no network needs"
    )


def _check_storage(key: Any, name: str, members: dict[str, bytes]) -> None:
    """Check that the archive holds a tensor's numbers, which PyTorch does not check."""
    is_valid = isinstance(key, tuple) and len(key) == 5 and isinstance(key[2], str)
    if not is_valid:
        raise ValueError("it refers to a tensor that is not in it")
    kind, storage, number, _, n = key
    if not isinstance(storage, plain_pickle.Global) or storage.module != "torch":
        raise ValueError("it refers to a tensor that is not in it")
    size = _ITEM_SIZES.get(storage.name)
    content = members.get(f"{name}/{number}")
    if kind != "storage" or size is None or content is None or not isinstance(n, int):
        raise ValueError("it refers to a tensor that is not in it")
    if n < 0 or n * size != len(content):
        raise ValueError(
            f"a tensor has {len(content)} bytes in the place of {n * size}"
        )


def _check_tensor(arguments: Any) -> None:
    """Check that a tensor lies within its storage."""
    storage, offset, shape, strides, _, hooks = arguments
    _check_hooks(hooks)
    if not isinstance(storage, plain_pickle.Persistent):
        raise TypeError("a tensor without numbers")
    numbers = [offset, *shape, *strides]
    if not all(isinstance(n, int) and 0 <= n < 1 << 62 for n in numbers):
        raise ValueError("a tensor has no valid shape")
    if len(shape) != len(strides) or math.prod(shape) > limits.MODEL:
        raise ValueError("a tensor has no valid shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.key[4]:
        raise ValueError("a tensor reaches beyond its numbers")


def _check_parameter(arguments: Any) -> None:
    tensor, _, hooks = arguments
    _check_hooks(hooks)
    if tensor.function != TENSOR:
        raise TypeError("a parameter that is no tensor")


def _check_hooks(value: Any) -> None:
    is_empty = isinstance(value, plain_pickle.Call) and value.function == _HOOKS
    if not is_empty:
        raise TypeError("a tensor with hooks")


def _archive(members: dict[str, bytes]) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            if not name.startswith("extra/"):
                archive.writestr(f"archive/{name}", content)
    return result.getvalue()
