"""The program itself, and the options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blinkcore import __version__

if TYPE_CHECKING:
    from blinkcore.image import PixelSize

app = typer.Typer(
    name="blinkcore",
    help="Find fluorescent spots in microscopy images, with no threshold to tune and sub-pixel.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Groups of commands, and of options.
FINDING, AFTERWARDS, MODELS = "Find spots", "Results", "Models and training"
READING, WRITING, RUNNING = "What is read", "What is written", "How it runs"

Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=RUNNING)
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Say more about what is done.", rich_help_panel=RUNNING
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Say nothing but errors; no progress.",
        rich_help_panel=RUNNING,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        help="File to which all messages are appended, with the time.",
        rich_help_panel=RUNNING,
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=RUNNING)
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
        help="What the dimensions are, like TYX, if the file does not say.",
        rich_help_panel=READING,
    ),
]
PixelSizes = Annotated[
    str | None,
    typer.Option(
        help="µm: one number for y and x, or three for z,y,x.", rich_help_panel=READING
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


# Of files that are no output of this program; a folder may be called `plate.B02`.
_OTHER_SUFFIXES = frozenset(
    [
        ".gz",
        ".feather",
        ".hdf5",
        ".html",
        ".htm",
        ".mat",
        ".npy",
        ".npz",
        ".ods",
        ".onnx",
        ".pdf",
        ".pkl",
        ".pt",
        ".xls",
        ".xlsx",
        ".yaml",
        ".yml",
    ]
)


def looks_like_file(path: Path) -> bool:
    """Tell whether a path that is no folder has the name of a file."""
    from blinkcore.io import IMAGE_SUFFIXES
    from blinkcore.io.suffixes import LABELS, WRITERS

    own = {f".{suffix.rsplit('.', 1)[-1]}" for suffix in (*WRITERS, ".geff")}
    known = _OTHER_SUFFIXES | own | {*LABELS, *IMAGE_SUFFIXES}
    return path.suffix.lower() in known and not path.is_dir()


def check_folder(path: Path | None) -> None:
    """Raise ValueError if an --output that is to be a folder has the name of a file."""
    if path is not None and looks_like_file(path):
        raise ValueError(
            f"--output {path} looks like a file, and a folder is made here; a folder of "
            "this name must be made first"
        )


def record_step(context: typer.Context, output: Path) -> None:
    """Write beside the results of a command with which options they were made."""
    from blinkcore.io.provenance import write_provenance

    plain = (str, int, float, type(None))
    options = {
        name: value if isinstance(value, plain) else str(value)
        for name, value in context.params.items()
    }
    write_provenance(output, str(context.info_name), {"options": options})


def parse_pixel_size(text: str | None) -> PixelSize | None:
    """Parse the pixel size that the user gave; None stays None."""
    if text is None:
        return None
    from blinkcore.image import as_pixel_size

    try:
        return as_pixel_size(text)
    except ValueError as error:
        raise ValueError(f"--{error}") from error


def parse_distance(option: str, text: str, pixel_size: PixelSize | None) -> float:
    """Parse a distance, a number of px or one like 0.5um; return it in px."""
    number, in_um = text.strip(), False
    for unit in ("um", "µm", "μm"):
        if number.endswith(unit):
            number, in_um = number.removesuffix(unit), True
    try:
        value = float(number.removesuffix("px"))
    except ValueError as error:
        raise ValueError(
            f"{option} must be a number of px, or like 0.5um, got {text!r}"
        ) from error
    if not in_um:
        return value
    if pixel_size is None:
        raise ValueError(
            f"{option} {text}: the size of a pixel is not known; give --pixel-size"
        )
    return value / pixel_size.x


def parse_contrast(text: str) -> tuple[float, float] | str:
    """Read a contrast: two numbers, `run` for one that all pictures share, or `plane`."""
    if text in ("run", "plane"):
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--contrast must be run, plane or LOW,HIGH, got {text!r}"
        ) from error
    if not low < high:
        raise ValueError(
            f"--contrast must be from a lower to a higher value, got {text!r}"
        )
    return low, high


def parse_split(text: str) -> tuple[float, float, float]:
    """Read shares like 0.6/0.2/0.2."""
    try:
        train, valid, test = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise ValueError(
            f"--split must be three shares like 0.6/0.2/0.2, got {text!r}"
        ) from error
    return train, valid, test
