"""The result files of an input, and the sidecar that says how they were made.

A result is named after its input; nothing is read back from a file's name. Its sidecar
(`.json`) is written first, marked as incomplete, and again at the end, so that the
files of an interrupted run can be recognized.
"""

from __future__ import annotations

import glob
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import blinkcore
from blinkcore import io
from blinkcore.batch.inputs import identity, is_of
from blinkcore.detection import overlay
from blinkcore.files import remove, write_json
from blinkcore.io.provenance import is_table_of_spots, made_now

if TYPE_CHECKING:
    import pandas as pd

    from blinkcore.batch.inputs import Input
    from blinkcore.batch.options import Options
    from blinkcore.image import Image

# Names of the pictures of planes.
_PLANE = re.compile(rf"((frame|channel|z)\d{{4,}}_?)+{re.escape(overlay.SUFFIX)}")
COORDINATES = (
    "y down and x right in px; an integer is the centre of a pixel, the first pixel's "
    "centre is (0, 0); frame, channel and z count from 0"
)


def sidecar(options: Options, images: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe how a table was made, so that it explains itself years later."""
    return {
        "blinkcore": blinkcore.__version__,
        **made_now(),
        **options.recorded(),
        "coordinates": COORDINATES,
        "images": images,
    }


@dataclass(frozen=True)
class Result:
    """The files of one input.

    Attributes
    ----------
    base : Path
        Folder and name of the tables, without the suffix of a format.
    picture : Path or None
        The same of the pictures; None: there are none.
    options : Options
        How it is made.
    """

    base: Path
    picture: Path | None
    options: Options

    @classmethod
    def of(cls, name: Path, options: Options) -> Result:
        """Name the files of an input that has this relative name."""
        picture = None if options.overlay is None else options.overlay / name
        return cls((options.output or Path()) / name, picture, options)

    def file(self, suffix: str) -> Path:
        """Return the file of a format."""
        return self.base.with_name(self.base.name + suffix)

    @property
    def table(self) -> Path:
        """The file that is reported as the result."""
        return self.file(self.options.formats[0])

    @property
    def sidecar(self) -> Path:
        """The description."""
        return self.file(".json")

    def record_of(self, item: Input) -> dict[str, Any] | None:
        """Return the record of the same image, model and options, if its tables exist.

        Raises
        ------
        ValueError
            If an existing file belongs to another image or holds something else, such
            as labels.
        """
        before = io.read_sidecar(self.sidecar)
        self._check_own(before)
        if before is None:
            return None
        paths = [record.get("path") for record in before["images"]]
        if paths != [identity(item.source)]:
            raise ValueError(
                f"{self.table} holds the spots of {paths[0] if paths else 'another image'}"
                "; choose another output folder"
            )
        written = set(before.get("formats", ()))
        record: dict[str, Any] = before["images"][0]
        is_there = (
            self.options.skip_existing
            and before.get("complete", True)
            and is_of(record, item)
            and self._same(before)
            and written.issuperset(self.options.formats)
            and all(self._written(suffix) for suffix in self.options.formats)
        )
        return record if is_there else None

    def has_pictures(self, record: dict[str, Any]) -> bool:
        """Return whether the pictures that are asked for were drawn for this record."""
        picture = self.picture
        return picture is None or (
            record.get("picture") == self._drawn(picture)
            and (_picture(picture).exists() or picture.is_dir())
        )

    def _drawn(self, picture: Path) -> dict[str, Any]:
        """Describe pictures: their place, and the contrast that was asked for."""
        contrast = self.options.contrast
        limits = contrast if isinstance(contrast, str) else list(contrast)
        return {"path": identity(picture), "contrast": limits}

    def write(
        self,
        spots: pd.DataFrame,
        image: Image,
        source: Path,
        record: dict[str, Any],
    ) -> dict[str, list[str]]:
        """Write the tables and their description; remove outdated files.

        Parameters
        ----------
        spots : DataFrame
            Of the image.
        image : Image
            Read from `source`.
        source : Path
            The image's file.
        record : dict
            About the image, for the description.

        Returns
        -------
        dict of str to list of str
            Columns that the file of each format cannot hold.
        """
        before = io.read_sidecar(self.sidecar)
        formats = set(self.options.formats)
        if before is not None and self._same(before) and _same_file(before, record):
            # What else was made of the same image in the same way stays.
            formats |= set(before.get("formats", ()))
            if "picture" in before["images"][0]:
                record["picture"] = before["images"][0]["picture"]
        content = sidecar(self.options, [record]) | {"formats": sorted(formats)}
        if before is not None:  # while the description still says that they are ours
            for suffix in set(before.get("formats", ())) - formats:  # of `WRITERS`
                for path in self._written(suffix):
                    remove(path)
            if "picture" not in record:
                self._remove_pictures(before)
        write_json(content | {"complete": False}, self.sidecar)
        lost = {
            suffix: self._write_format(spots, suffix, image, source)
            for suffix in self.options.formats
        }
        write_json(content, self.sidecar)
        return lost

    def _write_format(
        self, spots: pd.DataFrame, suffix: str, image: Image, source: Path
    ) -> list[str]:
        """Write one format; for TrackMate one session per channel.

        TrackMate's spots have no channel, so it would link across channels.
        """
        files = {self.file(suffix): spots}
        if suffix == ".xml" and "channel" in spots and image.size("C") > 1:
            files = {
                self.file(f".channel{c}.xml"): spots[spots["channel"] == c]
                for c in {c for _, c, _ in image.places(self.options.channel)}
            }
        lost: list[str] = []
        for path, own in files.items():
            lost = io.write_spots(
                own, path, image=source, sizes=image.sizes,
                pixel_size=image.pixel_size, interval=image.frame_interval,
                suffix=suffix,
            )  # fmt: skip
        return lost

    def _written(self, suffix: str) -> list[Path]:
        """List the existing files of a format."""
        own = [self.file(suffix)]
        if suffix == ".xml":
            names = glob.escape(f"{self.base.name}.channel")
            own += sorted(self.base.parent.glob(f"{names}[0-9]*.xml"))
        return [path for path in own if path.exists()]

    def write_pictures(
        self,
        image: Image,
        spots: pd.DataFrame,
        contrast: dict[int, tuple[float, float]],
        record: dict[str, Any],
    ) -> None:
        """Write one picture per plane, those of a stack in a folder; add it to the record.

        `contrast` is that of the run, for each channel. If neither it nor the options
        give one, each plane has its own.
        """
        if self.picture is None:
            return
        channel = self.options.channel
        several = image.n_planes(channel) > 1
        for plane in image.planes(channel):
            at = {"frame": plane.frame, "channel": plane.channel, "z": plane.z}
            chosen = spots
            for column, value in at.items():
                if column in chosen.columns:
                    chosen = chosen[chosen[column].round() == value]
            place = "_".join(
                f"{column}{value:04d}"
                for column, value in at.items()
                if column in spots
            )
            path = _picture(self.picture / place if several else self.picture)
            size = image.pixel_size
            mode = self.options.contrast
            limits = contrast.get(plane.channel) if isinstance(mode, str) else mode
            overlay.write_overlay(
                plane.data,
                chosen[["y", "x"]].to_numpy(),
                path,
                contrast=limits,
                pixel_size=None if size is None else size.x,
            )
        record["picture"] = self._drawn(self.picture)
        content = None if self.options.one_table else io.read_sidecar(self.sidecar)
        if content is not None:
            write_json(content | {"images": [record]}, self.sidecar)

    def _remove_pictures(self, before: dict[str, Any]) -> None:
        """Remove pictures of an earlier run, which show other spots, beside the table.

        Elsewhere they stay: a description, which may be forged, names no file to remove.
        """
        for earlier in (one.get("picture") for one in before["images"]):
            if earlier is not None and earlier.get("path") == identity(self.base):
                _picture(self.base).unlink(missing_ok=True)
                planes = self.base.glob(f"*{overlay.SUFFIX}")
                for path in [p for p in planes if _PLANE.fullmatch(p.name)]:
                    path.unlink()
                with suppress(OSError):  # something else is in it, or it is not there
                    self.base.rmdir()

    def _same(self, before: dict[str, Any]) -> bool:
        """Return whether an earlier result was made with the same options."""
        return all(before.get(k) == v for k, v in self.options.recorded().items())

    def _check_own(self, before: dict[str, Any] | None) -> None:
        """Raise ValueError if a file that would be written is the user's own."""
        if before is not None:
            own = {*before.get("formats", [".csv", ".parquet"])}
            doubtful = [
                path
                for s in self.options.formats
                if s not in own
                for path in self._written(s)
            ]
        elif is_table_of_spots(self.table):
            # Of a run whose description was lost; the other formats may be the user's.
            doubtful = [self.file(s) for s in self.options.formats[1:]]
        else:
            doubtful = [self.file(s) for s in (*self.options.formats, ".json")]
        for path in doubtful:
            if path.exists() and not is_table_of_spots(path):
                lost = "" if before is not None else self._lost()
                raise ValueError(
                    f"{path} is there and not a result of blinkcore{lost}; choose another "
                    "output folder"
                )

    def _lost(self) -> str:
        """Say how a result is recognized, if a table is there without its description."""
        if not is_table_of_spots(self.table):
            return ""
        return (
            f" (if blinkcore wrote it and {self.sidecar} was deleted, remove it, too)"
        )


def _same_file(before: dict[str, Any], record: dict[str, Any]) -> bool:
    """Return whether an earlier result is of the same file and masks, unchanged since."""
    earlier = before["images"][0] if before["images"] else {}
    return all(
        earlier.get(key) == record.get(key) for key in ("path", "file", "labels")
    )


def _picture(base: Path) -> Path:
    return base.with_name(f"{base.name}{overlay.SUFFIX}")
