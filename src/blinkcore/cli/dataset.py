"""`blinkcore dataset`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blinkcore.cli.app import (
    MODELS,
    Axes,
    Debug,
    PixelSizes,
    Unit,
    app,
    parse_pixel_size,
    parse_split,
)
from blinkcore.cli.console import ErrorReporter
from blinkcore.cli.messages import App, print_line, say, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from blinkcore.datasets.check import Check
    from blinkcore.datasets.dataset import Dataset

dataset_app = App(
    help="Make, inspect and extend labelled data sets.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)
app.add_typer(dataset_app, name="dataset", rich_help_panel=MODELS)

DataSet = Annotated[Path, typer.Argument(help="Data set (.npz).")]


@dataset_app.command()
def create(
    images: Annotated[Path, typer.Argument(help="Folder of images, or one image.")],
    labels: Annotated[Path, typer.Argument(help="Folder of labels, or one file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Data set to write (.npz).")
    ],
    tile: Annotated[
        int | None, typer.Option(help="Cut images into tiles of at most this side, px.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Shares of the images: train/valid/test.")
    ] = "0.6/0.2/0.2",
    channel: Annotated[
        int | None, typer.Option(help="Only this channel, from 0.")
    ] = None,
    axes: Axes = None,
    pixel_size: PixelSizes = None,
    unit: Unit = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the split.", min=0)] = 0,
    debug: Debug = False,
) -> None:
    """Pair images with labels by their names and split them for training, validation and test.

    For example: blinkcore dataset create images labels -o labels.npz
    """
    with ErrorReporter(debug):
        from blinkcore.datasets import dataset
        from blinkcore.datasets.check import check_all

        if output.suffix != ".npz":
            raise ValueError(f"--output of a data set must end in .npz, got {output}")
        if tile is not None and tile < 16:
            raise ValueError(f"--tile must be 16 px or more, got {tile}")
        shares = parse_split(split)
        pairs = _pairs(images, labels)

        def of_unit(unit: str) -> Dataset:
            return dataset.create(
                pairs,
                tile=tile,
                split=shares,
                seed=seed,
                unit=unit,
                axes=axes,
                channel=channel,
                pixel_size=parse_pixel_size(pixel_size),
            )

        made = of_unit(unit)
        made.save(output)
        checks, whole = check_all(made.samples)
        _print_summary(made, checks, output)
        for result in (*checks, whole):
            for problem in result.problems:
                warn(f"{result.name}: {problem}")
        if unit == "auto":
            _warn_of_micrometres(checks, of_unit)
        _warn_of_parts(made, shares)


def _pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    from blinkcore.datasets.pairing import pair_by_name
    from blinkcore.io.suffixes import LABELS, is_folder_of_labels

    if images.is_file() and labels.exists() and not is_folder_of_labels(labels):
        return [(images, labels)]  # one and one need no common name
    found = pair_by_name(image_files(images), _files(labels, LABELS))
    for path in found.images_alone:
        warn(f"{path} has no labels and is left out")
    for path in found.labels_alone:
        warn(f"{path} fits no image and is left out")
    return found.pairs


def _warn_of_parts(made: Dataset, shares: tuple[float, float, float]) -> None:
    from blinkcore.datasets.dataset import SPLITS

    filled = {sample.split for sample in made.samples}
    for split, share in zip(SPLITS, shares, strict=True):
        if share and split not in filled:
            warn(
                f"no image is left for the split '{split}': label more, or choose "
                "other shares with --split"
            )


def _warn_of_micrometres(
    checks: Sequence[Check], of_unit: Callable[[str], Dataset]
) -> None:
    from blinkcore.datasets.check import check_all

    if _misplaced(checks) < 0.5:
        return
    with suppress(ValueError):  # the size of a pixel may not be known
        if _misplaced(check_all(of_unit("um").samples)[0]) < 0.2:
            warn(
                "the labels fit the bright places only if they are in µm: give "
                "--unit um"
            )


def _misplaced(checks: Sequence[Check]) -> float:
    """Return the share of labels that are outside or not on a bright place."""
    n = sum(c.n_spots for c in checks)
    wrong = sum(c.n_outside + c.dark * (c.n_spots - c.n_outside) for c in checks)
    return wrong / n if n else 0.0


@dataset_app.command()
def info(
    data: DataSet,
    debug: Debug = False,
) -> None:
    """Count images and spots, with density and SNR.

    For example: blinkcore dataset info labels.npz
    """
    with ErrorReporter(debug):
        from blinkcore.datasets.check import check_all
        from blinkcore.datasets.dataset import load_dataset

        loaded = load_dataset(data)
        _print_summary(loaded, check_all(loaded.samples)[0], data)


@dataset_app.command()
def check(
    data: DataSet,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table of all samples (.csv).")
    ] = None,
    debug: Debug = False,
) -> None:
    """Look for mistakes in labels; ends with 1 if there seem to be any.

    For example: blinkcore dataset check labels.npz
    """
    with ErrorReporter(debug):
        from blinkcore.datasets.check import check_all
        from blinkcore.datasets.dataset import load_dataset

        if output is not None and output.suffix.lower() != ".csv":
            raise ValueError(f"--output must end in .csv, got {output}")
        results, whole = check_all(load_dataset(data).samples)
        for result in (*results, whole):
            for problem in result.problems:
                print_line(f"{result.name}: {problem}")
        n_wrong = sum(bool(result.problems) for result in results)
        if output is not None:
            import pandas as pd

            from blinkcore.io.tables import write_csv

            rows = [vars(result) for result in (*results, whole)]
            write_csv(pd.DataFrame(rows), output)
        verdict = f"{n_wrong} of {len(results)} samples should be looked at"
        if whole.problems:
            verdict += ", and what the others have in common"
        say(verdict)
        if n_wrong or whole.problems:
            raise typer.Exit(1)


@dataset_app.command()
def view(
    data: DataSet,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write (.png).")
    ],
    count: Annotated[int, typer.Option(help="Samples, evenly chosen.", min=1)] = 16,
    debug: Debug = False,
) -> None:
    """Draw a contact sheet of samples with their labels circled.

    For example: blinkcore dataset view labels.npz -o labels.png
    """
    with ErrorReporter(debug):
        import numpy as np

        from blinkcore.datasets.dataset import load_dataset
        from blinkcore.detection import overlay

        check_picture(output)
        samples = load_dataset(data).samples
        chosen = np.unique(np.linspace(0, len(samples) - 1, count).astype(int))
        shown = [samples[i] for i in chosen]
        overlay.write_sheet([(s.image, s.points, s.name) for s in shown], output)
        say(f"Wrote {output}: {len(shown)} of {len(samples)} samples")


def check_picture(output: Path) -> None:
    """Raise ValueError if the name of a picture does not end in .png."""
    if output.suffix.lower() != ".png":
        raise ValueError(f"--output must end in .png, got {output}")


def image_files(path: Path) -> list[Path]:
    """List the images of a folder, or the one that is given."""
    from blinkcore.io import IMAGE_SUFFIXES

    return _files(path, IMAGE_SUFFIXES)


def _files(path: Path, suffixes: Iterable[str]) -> list[Path]:
    """List the files of a folder, or the one that is given."""
    from blinkcore.detection.overlay import SUFFIX
    from blinkcore.files import files_in
    from blinkcore.io import read_sidecar, tables
    from blinkcore.io.suffixes import is_folder_of_labels

    if not is_folder_of_labels(path):
        if not path.exists():
            raise FileNotFoundError(2, "there is no such file or folder", str(path))
        return [path]
    found = files_in(path, tuple(suffixes))
    # Leave out what blinkcore wrote itself: pictures, descriptions, counts.
    found = [
        f
        for f in found
        if not (f.name.endswith(SUFFIX) or read_sidecar(f) or tables.is_counts(f))
    ]
    if not found:
        raise ValueError(f"{path} has no file in it that ends in {' '.join(suffixes)}")
    return found


def _print_summary(made: Dataset, checks: Sequence[Check], path: Path) -> None:
    from blinkcore.datasets.check import summary

    row = "{:<7}{:>8}{:>9}{:>7}{:>8}{:>14}{:>9}{:>7}{:>13}  {}"
    print_line(f"{path}")
    print_line(
        row.format(
            "split", "images", "samples", "empty", "spots", "per 1000 px²",
            "outside", "twice", "in one cell", "SNR (10, 50, 90 %)",
        )
    )  # fmt: skip
    for described in summary(made, checks):
        snr = ", ".join(f"{q:.1f}" for q in described["snr"]) or "-"
        print_line(
            row.format(
                described["split"], described["images"], described["samples"], described["empty"],
                described["spots"], f"{described['density']:.2f}", described["outside"],
                described["twice"], described["shared"], snr,
            )
        )  # fmt: skip
