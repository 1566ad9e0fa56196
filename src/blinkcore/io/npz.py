"""Data sets as `.npz`: blinkcore's own, and those of deepBlink.

deepBlink's files hold points as pickled objects. Reading them runs no pickled code: the
pickle is read as plain data, and arrays of numbers are made from that.
"""

from __future__ import annotations

import json
import math
import zipfile
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from blinkcore import limits, plain_pickle
from blinkcore.files import atomic_write, check_regular

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")
_SPLIT = "part"  # the key of a sample's split in the file, as in version 0.1
_FORMAT = 1
_INDEX = "blinkcore"  # the member that marks our own format


def write(samples: list[dict[str, Any]], path: Path) -> None:
    """Write samples: `image`, `points` and any other values that JSON can hold."""
    arrays: dict[str, NDArray[Any]] = {}
    index = []
    for number, sample in enumerate(samples):
        arrays[f"image{number:06d}"] = sample["image"]
        arrays[f"points{number:06d}"] = np.asarray(sample["points"], np.float64)
        about = {k: v for k, v in sample.items() if k not in ("image", "points")}
        about[_SPLIT] = about.pop("split")
        index.append(about)
    text = json.dumps({"format": _FORMAT, "samples": index})
    arrays[_INDEX] = np.frombuffer(text.encode(), np.uint8)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> list[dict[str, Any]]:
    """Read a data set of blinkcore or deepBlink.

    Returns
    -------
    list of dict
        `image` (height, width), `points` (n, 2) as y, x in px, `split`, `name`, `source`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is neither, or holds anything but arrays.
    """
    check_regular(path)
    with path.open("rb") as file:
        is_zip = zipfile.is_zipfile(file)
    if not is_zip:
        raise ValueError(f"{path} is not a data set (.npz), whatever its name says")
    try:
        with zipfile.ZipFile(path) as archive:
            limits.check_unpacked(archive, limits.DATASET, str(path))
        with np.load(path, allow_pickle=False) as content:
            if _INDEX in content.files:
                return _own(content)
            names = set(content.files)
        if {f"{axis}_{split}" for axis in "xy" for split in SPLITS} <= names:
            return _deepblink(path)
    except OSError:
        raise
    except Exception as error:  # damaged files raise anything
        raise ValueError(
            f"{path} is not a data set that can be read: {error}"
        ) from error
    raise ValueError(
        f"{path} is neither a data set of 'blinkcore dataset create' nor of deepBlink"
    )


def _own(content: Any) -> list[dict[str, Any]]:
    index = json.loads(content[_INDEX].tobytes().decode())
    if index["format"] > _FORMAT:
        raise ValueError("it was written by a newer blinkcore; please upgrade")
    return [
        _checked(
            {
                **about,
                "split": about[_SPLIT],
                "image": content[f"image{number:06d}"],
                "points": content[f"points{number:06d}"],
            },
            number,
        )
        for number, about in enumerate(index["samples"])
    ]


def _checked(sample: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a sample of an index; raise ValueError if it is not what `save` writes."""
    image, points = sample["image"], sample["points"]
    if image.ndim != 2 or 0 in image.shape or image.dtype.kind not in "biuf":
        raise ValueError(f"the image of sample {number} must be a 2D array of numbers")
    is_list = points.ndim == 2 and points.shape[1] == 2 and points.dtype.kind in "iuf"
    if not is_list or not np.isfinite(points).all():
        raise ValueError(f"the points of sample {number} are not pairs y, x")
    if sample["split"] not in SPLITS:
        raise ValueError(
            f"sample {number} is in none of the splits {', '.join(SPLITS)}"
        )
    if not all(isinstance(sample[key], str) for key in ("name", "source")):
        raise ValueError(f"sample {number} has no name or no source")
    return sample


def _deepblink(path: Path) -> list[dict[str, Any]]:
    samples = []
    with zipfile.ZipFile(path) as archive:
        for split in SPLITS:
            with archive.open(f"x_{split}.npy") as file:
                images = _array(file)
            with archive.open(f"y_{split}.npy") as file:
                points = _array(file)
            for number, (image, places) in enumerate(zip(images, points, strict=True)):
                plane = np.squeeze(np.asarray(image))
                if plane.ndim != 2:
                    raise ValueError(
                        f"image {number} of {split} has shape {plane.shape}"
                    )
                name = f"{split}{number:05d}"
                samples.append(
                    {
                        "image": plane,
                        "points": np.asarray(places, float).reshape(-1, 2),
                        "split": split,
                        "name": name,
                        "source": name,
                    }
                )
    return samples


def _array(file: IO[bytes]) -> NDArray[Any]:
    """Read one `.npy`; an array of objects must hold arrays of numbers only."""
    version = np.lib.format.read_magic(file)
    reader = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = reader(file)
    content = file.read()
    if not dtype.hasobject:
        return _numbers(dtype, shape, content, is_fortran)
    return np.asarray(_Unpickler(len(content)).array(plain_pickle.parse(content)))


def _numbers(
    dtype: np.dtype[Any], shape: tuple[int, ...], content: bytes, is_fortran: bool
) -> NDArray[Any]:
    """Make an array of numbers from its bytes, whose number must fit type and shape."""
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise ValueError(f"its numbers are of type {dtype}")
    if min(shape, default=0) < 0 or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"it holds {len(content)} bytes for the shape {shape}")
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    return np.frombuffer(content, dtype).reshape(shape, order=order)


_GROWTH = 20  # bytes made of each byte of a pickle; those of deepBlink stay below 3
_OF_AN_ITEM = 32  # bytes, at least, that an item of a list takes
# Functions that NumPy's pickles name; NumPy 2 wrote numpy._core, which NumPy 1 calls numpy.core.
_MULTIARRAY = frozenset({"numpy.core.multiarray", "numpy._core.multiarray"})
_NUMERIC = frozenset({"numpy.core.numeric", "numpy._core.numeric"})


class _Unpickler:
    """Makes numbers and arrays from what `plain_pickle` has read.

    A pickle may name one part many times, in parts that are named many times in turn. So
    what is made of it is limited by its length.

    Parameters
    ----------
    n_bytes : int
        Length of the pickle.
    """

    def __init__(self, n_bytes: int) -> None:
        self.left = _GROWTH * n_bytes + limits.MIB  # bytes that may still be made

    def array(self, value: Any) -> Any:
        """Make a number or an array.

        Raises
        ------
        ValueError, TypeError
            If it is anything else, by name, or much larger than its pickle.
        """
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, list | tuple):
            self._count(_OF_AN_ITEM * len(value))
            return np.array([self.array(v) for v in value])
        if not isinstance(value, plain_pickle.Call):
            raise TypeError(f"it holds a {type(value).__name__}, not only arrays")
        function = _name(value.function)
        if function.module in _MULTIARRAY and function.name == "_reconstruct":
            return self._from_state(value.state)
        if function.module in _MULTIARRAY and function.name == "scalar":
            dtype, content = value.arguments
            return self._numbers(dtype, (), content, False)[()]
        if function.module in _NUMERIC and function.name == "_frombuffer":
            content, dtype, shape, order = value.arguments
            return self._numbers(dtype, shape, content, order == "F")
        raise ValueError(
            f"it holds a {function.module}.{function.name}, not only arrays"
        )

    def _from_state(self, state: Any) -> NDArray[Any]:
        """Make an array from its state: version, shape, dtype, order, content."""
        _, shape, dtype, is_fortran, content = state
        if _type_name(dtype) != "O":
            return self._numbers(dtype, shape, content, bool(is_fortran))
        self._count(_OF_AN_ITEM * len(content))
        objects = np.empty(len(content), object)
        for number, item in enumerate(content):
            objects[number] = self.array(item)
        return objects.reshape(_shape(shape), order="F" if is_fortran else "C")

    def _numbers(
        self, dtype: Any, shape: Any, content: Any, is_fortran: bool
    ) -> NDArray[Any]:
        plain = _bytes(content)
        self._count(len(plain))
        return _numbers(_dtype(dtype), _shape(shape), plain, is_fortran)

    def _count(self, n_bytes: int) -> None:
        self.left -= n_bytes
        if self.left < 0:
            raise ValueError(
                "its pickled arrays become far larger than the file, so that they would fill memory"
            )


def _name(value: Any) -> plain_pickle.Global:
    if not isinstance(value, plain_pickle.Global):
        raise TypeError("it calls what is not a function")
    return value


def _type_name(value: Any) -> str:
    """Name the type of numbers as NumPy's pickles name it, such as `f8`; `O` for objects."""
    name = value.arguments[0]
    if _name(value.function) != ("numpy", "dtype") or not isinstance(name, str):
        raise ValueError("its numbers have no type")
    return "O" if name.startswith("O") else name


def _dtype(value: Any) -> np.dtype[Any]:
    order = value.state[1] if value.state else "|"
    if not isinstance(order, str):
        raise TypeError("its numbers have no order of bytes")
    return np.dtype(f"{order}{_type_name(value)}")


def _shape(value: Any) -> tuple[int, ...]:
    if not all(isinstance(n, int) for n in value):
        raise TypeError("its shape is not made of numbers")
    return tuple(value)


def _bytes(value: Any) -> bytes:
    """Return bytes as they are, or as pickles of protocol 2 spell them: text in Latin-1."""
    if isinstance(value, plain_pickle.Call):
        if _name(value.function) != ("_codecs", "encode"):
            raise ValueError("it calls what is not an encoding")
        text, encoding = value.arguments
        if encoding != "latin1":
            raise ValueError("it holds bytes in another encoding than NumPy's")
        return bytes(text, "latin1")
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"it holds a {type(value).__name__} in the place of bytes")
    return bytes(value)
