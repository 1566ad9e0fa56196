"""KNIME nodes for what comes after detection: counts of images, tracks of movies."""

import blinkcore_program as program
import blinkcore_results as results
import blinkcore_tables as tables
import knime.extension as knext
from blinkcore_category import category, raise_for_user


def _check_columns(schema, names):
    missing = [name for name in names if name not in schema.column_names]
    if missing:
        raise knext.InvalidParametersError(
            f"The table of spots has no column '{missing[0]}'."
        )


@knext.node(
    name="Spot Counts (blinkcore)",
    node_type=knext.NodeType.MANIPULATOR,
    icon_path="icons/blinkcore.png",
    category=category,
    id="spot_counts",
    keywords=["spot", "count"],
)
@knext.input_table(name="Spots", description="Table of *Spot Detection*.")
@knext.input_table(
    name="Images",
    description="What was searched. *Counts* of *Spot Detection*: each of its images, frames and "
    "channels without spots counts 0. Or its *Images*, or any table of image files: images "
    "without spots count 0, those that could not be read do not count.",
    optional=True,
)
@knext.output_table(
    name="Counts",
    description="One row for each image, frame and channel: n, the number of spots, and "
    "expected, the number of real ones among them (sum of the probabilities).",
)
class SpotCounts:
    """Counts the spots of each image, frame and channel, also where there are none.

    For spots that were filtered after detection, for example by their probability or
    width. Without the second table an image without spots would vanish, and means over
    images would be too high.
    """

    column = knext.ColumnParameter(
        "File column",
        "Column with the paths of the images, in the second table.",
        port_index=1,
        column_filter=tables.is_path_column,
    )

    def configure(self, context, spots_schema, images_schema=None):
        _check_columns(spots_schema, ["image", "probability"])
        if images_schema is not None and self.column is None:
            known = [c.name for c in images_schema if tables.is_path_column(c)]
            usual = known[-1:] if "image" not in known else ["image"]
            self.column = usual[0] if usual else None
        kinds = [knext.string(), knext.int64(), knext.int64(), knext.int64()]
        return knext.Schema(
            [*kinds, knext.double()], ["image", "frame", "channel", "n", "expected"]
        )

    def execute(self, context, spots, images=None):
        import pandas as pd

        searched = pd.DataFrame({"image": []})
        if images is not None and self.column:
            try:
                searched = tables.searched(images, self.column)
            except ValueError as error:
                raise_for_user(error)
        return knext.Table.from_pandas(results.counts(spots.to_pandas(), searched))


@knext.node(
    name="Spot Linking (blinkcore)",
    node_type=knext.NodeType.MANIPULATOR,
    icon_path="icons/blinkcore.png",
    category=category,
    id="spot_linking",
    keywords=["spot", "track", "linking", "diffusion", "LapTrack"],
)
@knext.input_table(name="Spots", description="Table of *Spot Detection* on movies.")
@knext.output_table(
    name="Linked spots",
    description="The spots with a column track: the same number is the same particle.",
)
@knext.output_table(
    name="Tracks",
    description="One row for each track: number of spots, first frame, duration, length of the "
    "path, displacement from first to last spot, mean speed and diffusion coefficient, in the "
    "units that two columns tell: px or µm, and frame or s.",
)
class SpotLinking:
    """Links the spots of movies into tracks.

    Runs **blinkcore link** (LapTrack) on each image and channel by itself.
    """

    radius = knext.DoubleParameter(
        "Radius",
        "Largest step of a spot between two frames, in pixels.",
        default_value=5.0,
        min_value=0.01,
        max_value=1000.0,
    )
    gap = knext.IntParameter(
        "Gap", "Frames in which a spot may be missing.", default_value=2, min_value=0
    )
    splitting = knext.BoolParameter(
        "Splitting", "A track may split into two.", default_value=False
    )
    merging = knext.BoolParameter(
        "Merging", "Two tracks may merge into one.", default_value=False
    )
    pixel_size = knext.StringParameter(
        "Pixel size (µm)",
        "One number, or z, y and x like 0.3,0.1,0.1; empty if it is not known. Tracks are then "
        "described in µm, and z of stacks counts by its own size.",
        default_value="",
    )
    interval = knext.DoubleParameter(
        "Frame interval (s)",
        "Time between frames; 0 if it is not known.",
        default_value=0.0,
        min_value=0.0,
    )

    def configure(self, context, spots_schema):
        _check_columns(spots_schema, ["image", "frame", "y", "x"])
        spots = spots_schema.append(knext.Column(knext.int64(), "track"))
        return spots, tables.schema(results.TRACKS)

    def execute(self, context, spots):
        options = {
            "--radius": self.radius,
            "--gap": self.gap,
            "--splitting": self.splitting,
            "--merging": self.merging,
            "--pixel-size": self.pixel_size.strip() or None,
            "--frame-interval": self.interval or None,
        }
        try:
            linked = results.link(
                spots.to_pandas(), options, is_canceled=context.is_canceled
            )
        except program.Canceled:
            return None  # KNIME knows that it canceled
        except program.ProgramError as error:
            raise_for_user(error)
        if linked.warnings:
            context.set_warning(" ".join(linked.warnings))
        return tuple(map(knext.Table.from_pandas, (linked.spots, linked.tracks)))
