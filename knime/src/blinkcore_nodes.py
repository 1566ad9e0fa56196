"""KNIME nodes that run blinkcore: detection, evaluation, models.

KNIME imports this module whenever it lists its nodes: heavy imports are in functions.
"""

import logging

import blinkcore_cli as cli
import blinkcore_program as program
import blinkcore_result_nodes  # noqa: F401 (KNIME finds its nodes when it is imported)
import blinkcore_tables as tables
import knime.extension as knext
from blinkcore_category import category, raise_for_user

LOGGER = logging.getLogger(__name__)
N_PICTURES = 4


@knext.parameter_group(label="Spots")
class SpotSettings:
    """What counts as a spot."""

    model = knext.StringParameter(
        "Model",
        "Name of a bundled model, or path of a model file (`.pt`). A connected *Spot Model "
        "Reader* takes precedence.",
        default_value="general",
    )
    own_threshold = knext.BoolParameter(
        "Use the model's own threshold",
        "Each model has a default probability above which a spot counts.",
        default_value=True,
    )
    threshold = knext.DoubleParameter(
        "Threshold",
        "Probability above which a spot counts.",
        default_value=0.5,
        min_value=0.0,
        max_value=1.0,
    ).rule(knext.OneOf(own_threshold, [False]), knext.Effect.SHOW)

    def validate(self, values):
        if not str(values["model"]).strip():
            raise ValueError("Give the name or the file of a model.")
        if not values["own_threshold"] and values["threshold"] >= 1.0:
            raise ValueError("The threshold must be below 1.")


@knext.parameter_group(label="Images")
class ImageSettings:
    """What to look at and what to measure."""

    channel = knext.IntParameter(
        "Channel",
        "Only this channel, counted from 1; 0 for all.",
        default_value=0,
        min_value=0,
    )
    measured = knext.StringParameter(
        "Measure",
        "*disk* sums the light of each spot in a disk: background, intensity and SNR. *fit* "
        "fits a Gaussian: width, amplitude, background, intensity and position, with their "
        "standard errors. *none* measures nothing.",
        default_value=cli.NONE,
        enum=list(cli.MEASURED),
    )
    radius = knext.DoubleParameter(
        "Radius",
        "Radius in pixels of the disk in which a spot's light is summed.",
        default_value=3.0,
        min_value=0.5,
        max_value=50.0,
    ).rule(knext.OneOf(measured, [cli.DISK]), knext.Effect.SHOW)
    labels = knext.StringParameter(
        "Label images",
        "Folder of label images of cells (as Cellpose or StarDist write them), with the "
        "names of the images, or one such file; empty for none. Adds the cell of each spot "
        "(0 outside) and its distance to the border in pixels.",
        default_value="",
    )


@knext.node(
    name="Spot Detection (blinkcore)",
    node_type=knext.NodeType.PREDICTOR,
    icon_path="icons/blinkcore.png",
    category=category,
    id="spot_detection",
    keywords=["spot", "fluorescence", "smFISH", "particle", "microscopy", "deepBlink"],
)
@knext.input_table(
    name="Images",
    description="Table with a column of image files: TIFF (also ImageJ and OME), PNG, JPEG.",
)
@knext.input_table(
    name="Model",
    description="Table of a *Spot Model Reader*.",
    optional=True,
)
@knext.output_table(
    name="Spots",
    description="One row per spot: image, frame, channel, z, y, x (pixels; an integer "
    "is the centre of a pixel; frame, channel and z count from 0), probability, "
    "localization uncertainty (pixels), for stacks the uncertainty of z (planes) and the "
    "number of planes in which it was seen, and z, y, x in µm if the pixel size is known.",
)
@knext.output_table(
    name="Images",
    description="One row for each image: n, the number of its spots, also 0, or error, why it "
    "could not be read; one of the two is missing.",
)
@knext.output_table(
    name="Counts",
    description="One row for each image, frame and channel, also where there is no spot: n, and "
    "the expected number of real spots with its interval of 95 % (low, high).",
)
@knext.output_view(
    name="Spots on images", description="The first images with their spots circled."
)
class SpotDetection:
    """Finds fluorescent spots with sub-pixel positions and no threshold to tune.

    Runs **blinkcore** on each image of a column of paths. The spots of a stack are joined
    over its planes: one row is one spot in three dimensions. Cells without a path are skipped, and files that cannot be read are named in the
    warning; all others are searched.

    Paths come from *List Files/Folders* (Path) or any String column. Files must be on this
    computer.
    """

    column = knext.ColumnParameter(
        "File column",
        "Column with the paths of the images, String or Path.",
        column_filter=tables.is_path_column,
    )
    spots = SpotSettings()
    images = ImageSettings()

    def configure(self, context, table_schema, model_schema=None):
        candidates = [c.name for c in table_schema if tables.is_path_column(c)]
        if not self.column:
            if not candidates:
                raise knext.InvalidParametersError(
                    "The table has no column of String or Path that could hold image files."
                )
            self.column = candidates[-1]
            context.set_warning(f"Using the column '{self.column}' for the files.")
        if self.column not in table_schema.column_names:
            raise knext.InvalidParametersError(
                f"The column '{self.column}' is not in the table."
            )
        if model_schema is not None and "model" not in model_schema.column_names:
            raise knext.InvalidParametersError(
                "The second table is not one of a Spot Model Reader: no column 'model'."
            )
        return self._schema(), tables.IMAGES, tables.schema(cli.COUNTS)

    def _schema(self):
        labelled = bool(self.images.labels.strip())
        return tables.schema(
            cli.columns(measured=self.images.measured, labelled=labelled)
        )

    def execute(self, context, table, model_table=None):
        model = self.spots.model.strip()
        if model_table is not None:
            rows = model_table.to_pandas()
            if len(rows) != 1:
                raise knext.InvalidParametersError(
                    f"The table of the model must have one row, it has {len(rows)}."
                )
            model = str(rows["model"].iloc[0])
        try:
            paths, n_missing = tables.paths(table, self.column)
            found = cli.predict(
                paths,
                model=model,
                threshold=None if self.spots.own_threshold else self.spots.threshold,
                channel=self.images.channel - 1 if self.images.channel else None,
                measured=self.images.measured,
                radius=self.images.radius,
                labels=self.images.labels,
                n_pictures=N_PICTURES,
                progress=context.set_progress,
                is_canceled=context.is_canceled,
            )
        except program.Canceled:
            return None  # KNIME knows that it canceled
        except (program.ProgramError, ValueError) as error:
            raise_for_user(error)
        _warn(context, n_missing, found)
        made = (found.spots, found.images, found.counts)
        return *map(knext.Table.from_pandas, made), knext.view_html(tables.page(found))


def _warn(context, n_missing, found):
    failed, n_paths, text = found.failed, found.n_inputs, list(found.warnings)
    if n_missing:
        text.append(f"{n_missing} missing cells were skipped.")
    if failed:
        LOGGER.warning("\n".join(failed))
        text.append(f"{len(failed)} of {n_paths} images could not be read: {failed[0]}")
    if failed and len(failed) == n_paths:
        raise knext.InvalidParametersError(failed[0])
    if text:
        context.set_warning(" ".join(text))


@knext.node(
    name="Spot Model Reader (blinkcore)",
    node_type=knext.NodeType.SOURCE,
    icon_path="icons/blinkcore.png",
    category=category,
    id="spot_model_reader",
    keywords=["spot", "model"],
)
@knext.output_table(
    name="Model",
    description="One row: model (name or file, for *Spot Detection*), and what the model says "
    "about itself.",
)
class SpotModelReader:
    """Reads what a model of blinkcore says about itself.

    Gives the name or file of a model, the network, the side of its cells, its threshold,
    the widths of spots that it was trained on, and its score on validation images. The
    table feeds *Spot Detection (blinkcore)*.
    """

    model = knext.StringParameter(
        "Model",
        "Name of a bundled model, or path of a model file (`.pt`).",
        default_value="general",
    )

    @model.validator
    def _check(value):
        if not str(value).strip():
            raise ValueError("Give the name or the file of a model.")

    def configure(self, context):
        return knext.Schema(
            [
                knext.string(), knext.string(), knext.int64(), knext.double(),
                knext.double(), knext.double(), knext.double(), knext.string(),
            ],
            [
                "model", "network", "cell size", "threshold", "min sigma",
                "max sigma", "F1 integral", "trained on",
            ],
        )  # fmt: skip

    def execute(self, context):
        import pandas as pd

        try:
            about = cli.model_metadata(self.model.strip())
        except program.ProgramError as error:
            raise_for_user(error)
        sigma = about["spot_sigma"] or [float("nan")] * 2
        row = {
            "model": self.model.strip(),
            "network": about["architecture"],
            "cell size": about["cell_size"],
            "threshold": about["threshold"],
            "min sigma": float(sigma[0]),
            "max sigma": float(sigma[1]),
            "F1 integral": float(about["scores"].get("f1_integral", float("nan"))),
            "trained on": str(about["provenance"].get("data", "")),
        }
        return knext.Table.from_pandas(pd.DataFrame([row]))


SCORES = ("f1_integral", "f1", "precision", "recall", "rmse", "n_truth", "n_detected")


@knext.node(
    name="Spot Evaluation (blinkcore)",
    node_type=knext.NodeType.OTHER,
    icon_path="icons/blinkcore.png",
    category=category,
    id="spot_evaluation",
    keywords=["spot", "evaluation", "F1", "Hungarian"],
)
@knext.input_table(
    name="True spots",
    description="Labels: columns y and x in pixels, and image, frame, channel, z if several.",
)
@knext.input_table(
    name="Detected spots", description="Spots to score, with the same columns."
)
@knext.output_table(
    name="Scores",
    description="One row: F1 integral (0 to 3 pixels), F1, precision, recall and RMSE at the "
    "cutoff, and the numbers of spots. Means over images and planes.",
)
class SpotEvaluation:
    """Scores detected spots against true ones.

    Spots are matched one to one, most pairs first, then the least total distance
    (Hungarian matching), up to the cutoff, image by image where both tables have a column
    *image*.
    """

    cutoff = knext.DoubleParameter(
        "Cutoff",
        "Largest distance in pixels at which a detected and a true spot may match.",
        default_value=3.0,
        min_value=0.01,
        max_value=1000.0,
    )

    def configure(self, context, truth_schema, detected_schema):
        for name, schema in (("true", truth_schema), ("detected", detected_schema)):
            missing = [n for n in ("y", "x") if n not in schema.column_names]
            if missing:
                raise knext.InvalidParametersError(
                    f"The table of {name} spots has no column '{missing[0]}'."
                )
        kinds = [knext.double()] * 5 + [knext.int64()] * 2
        return knext.Schema(kinds, list(SCORES))

    def execute(self, context, truth, detected):
        import pandas as pd

        try:
            scores = cli.evaluate(
                truth.to_pandas(),
                detected.to_pandas(),
                cutoff=self.cutoff,
                is_canceled=context.is_canceled,
            )
        except program.Canceled:
            return None  # KNIME knows that it canceled
        except program.ProgramError as error:
            raise_for_user(error)
        return knext.Table.from_pandas(pd.DataFrame([{n: scores[n] for n in SCORES}]))
