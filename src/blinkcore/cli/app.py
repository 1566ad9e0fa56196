"""The program itself, and the options that commands share."""

from __future__ import annotations

import glob
import logging
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blinkcore import __version__
from blinkcore.cli.messages import OPTIONS, RUNNING, App

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blinkcore.image import PixelSize

logger = logging.getLogger(__name__)

app = App(
    name="blinkcore",
    help="Find fluorescent spots in microscopy images with sub-pixel precision and no "
    "threshold to tune.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Groups of commands, and of options.
FINDING, AFTERWARDS, MODELS = "Find spots", "Results", "Models and training"
PROGRAMS = "For other programs"
READING, WRITING = "What is read", "What is written"

Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=RUNNING)
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=RUNNING)
]
Amp = Annotated[
    bool,
    typer.Option(
        help="Half precision where the device is faster in it.", rich_help_panel=RUNNING
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Name of a bundled model or of the registry, or path of a .pt or .onnx file.",
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        help="What the dimensions are, like TYX, instead of what the file says.",
        rich_help_panel=READING,
    ),
]
PixelSizes = Annotated[
    str | None,
    typer.Option(
        help="µm: one number for y and x, two for y,x, or three for z,y,x.",
        rich_help_panel=READING,
    ),
]
Contrast = Annotated[
    str,
    typer.Option(
        help="Contrast of the pictures: run (one for all), plane, or LOW,HIGH in counts.",
        rich_help_panel=WRITING,
    ),
]
Unit = Annotated[str, typer.Option(help="Unit of positions in labels: auto, px or um.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blinkcore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version),
    ] = False,
) -> None:
    pass


# Suffixes of files that are no output of this program, and mistyped ones; a folder may be
# called `plate.B02`.
_OTHERS = """
avi bmp dat db doc docx feather gif gz h5 hdf5 htm html ipynb log m4v mat md mov mp4 npy
npz ods onnx pdf pkl ppt pptx pq pt py rds rtf sqlite svg tab tar tsv txt xls xlsm xlsx
yaml yml zip
ccsv csvs csvv cvs scv vcs paquet parq parqet parquest parquett paruqet
"""
_OTHER_SUFFIXES = frozenset(f".{suffix}" for suffix in _OTHERS.split())


def looks_like_file(path: Path) -> bool:
    """Return whether a path that is no folder has the name of a file."""
    from blinkcore.io import IMAGE_SUFFIXES
    from blinkcore.io.suffixes import LABELS, WRITERS

    own = {f".{suffix.rsplit('.', 1)[-1]}" for suffix in (*WRITERS, ".geff")}
    known = _OTHER_SUFFIXES | own | {*LABELS, *IMAGE_SUFFIXES}
    return path.suffix.lower() in known and not path.is_dir()


def check_folder(path: Path | None) -> None:
    """Raise ValueError if an --output that is to be a folder has the name of a file."""
    if path is not None and looks_like_file(path):
        raise ValueError(
            f"--output {path} looks like the name of a file, but a folder is expected; "
            "to use this name, create the folder first"
        )


def expanded(names: Iterable[str]) -> list[str]:
    """Replace patterns by the files that they match, where the shell has not (Windows)."""
    found: list[str] = []
    for name in names:
        is_pattern = glob.has_magic(name) and not Path(name).exists()
        found += (is_pattern and sorted(glob.glob(name))) or [name]  # noqa: PTH207
    return found


def options_of(context: typer.Context) -> dict[str, Any]:
    """Return the options of the command that runs, as JSON has them."""
    plain = (str, int, float, type(None))
    return {
        name.rstrip("_"): value if isinstance(value, plain) else str(value)
        for name, value in context.params.items()
        if name not in OPTIONS  # they change no result
    }


def parse_pixel_size(text: str | None) -> PixelSize | None:
    """Parse the pixel size that the user gave; None stays None."""
    if text is None:
        return None
    from blinkcore.image import as_pixel_size

    try:
        return as_pixel_size(text)
    except ValueError as error:
        raise ValueError(f"--{str(error).replace('_', '-', 1)}") from error


_UM = {"um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3}


def parse_distance(
    option: str, text: str, pixel_size: PixelSize | None, *, in_depth: bool = False
) -> float:
    """Parse a distance, a number of px or one like 0.5um or 500nm; return it in px.

    `in_depth`: the positions have z, so that µm need the distance of planes, too.
    """
    number, um = text.strip(), None
    for unit, size in _UM.items():
        if number.endswith(unit):
            number, um = number.removesuffix(unit), size
    try:
        value = float(number.removesuffix("px"))
    except ValueError as error:
        raise ValueError(
            f"{option} must be a number of px, or like 0.5um, got {text!r}"
        ) from error
    if um is None:
        return value
    if pixel_size is None:
        raise ValueError(
            f"{option} {text}: the size of a pixel is not known; give --pixel-size"
        )
    if in_depth and pixel_size.z is None:
        raise ValueError(
            f"{option} {text}: the distance of planes is not known; give --pixel-size "
            f"Z,Y,X, like 0.3,{pixel_size.y:g},{pixel_size.x:g}"
        )
    return value * um / pixel_size.x


_FARTHEST = 1e6  # px or µm; no plane is as large


def check_distance(option: str, text: str) -> None:
    """Raise ValueError if a distance is not one above 0, whatever the pixels are."""
    from blinkcore.image import PixelSize

    if not 0 < parse_distance(option, text, PixelSize(1.0, 1.0, 1.0)) <= _FARTHEST:
        raise ValueError(f"{option} must be above 0, and at most 1e6, got {text}")


def warn_of_depth(name: str, pixel_size: PixelSize | None) -> None:
    """Say that distances along z are guessed, where that of planes is not known."""
    if pixel_size is None or pixel_size.z is None:
        logger.warning(
            "%s: the distance of planes is not known, so a plane counts as one px; give "
            "--pixel-size Z,Y,X", name,
        )  # fmt: skip


def check_own_folder(output: Path, *sources: Path | None) -> None:
    """Raise ValueError if an --output folder is that of the spots that are read."""
    for source in sources:
        if source is not None and not source.exists():
            continue  # said when it is read
        folder = source if source is None or source.is_dir() else source.parent
        if folder is not None and output.resolve() == folder.resolve():
            raise ValueError(
                f"--output {output} is the folder of the spots, whose tables would be "
                "replaced or mixed with others; choose another one"
            )


@contextmanager
def options_named() -> Iterator[None]:
    """Put dashes before the name of the option with which an error message begins."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith("--") else f"--{text}") from error


def parse_contrast(text: str) -> tuple[float, float] | str:
    """Read a contrast: two numbers, `run` for one that all pictures share, or `plane`."""
    from blinkcore.batch.options import check_contrast

    contrast: tuple[float, float] | str = text
    with suppress(ValueError):
        low, high = (float(part) for part in text.split(","))
        contrast = (low, high)
    with options_named():
        check_contrast(contrast)
    return contrast


def parse_split(text: str) -> tuple[float, float, float]:
    """Read shares like 0.6/0.2/0.2."""
    try:
        train, valid, test = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise ValueError(
            f"--split must be three shares like 0.6/0.2/0.2, got {text!r}"
        ) from error
    return train, valid, test
