"""`blinkcore predict`."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blinkcore.cli import predict_checks as checks
from blinkcore.cli.app import (
    FINDING,
    Amp,
    Axes,
    Contrast,
    Debug,
    Device,
    ModelName,
    PixelSizes,
    app,
    parse_contrast,
)
from blinkcore.cli.console import ErrorReporter, Report
from blinkcore.cli.predict_options import (
    AllowTruncated,
    CameraOption,
    Channel,
    Dim,
    Fdr,
    Format,
    Inputs,
    Labels,
    Level,
    List,
    MaxMemory,
    Measure,
    Molecules,
    Output,
    Overlay,
    Progress,
    Radius,
    Recursive,
    ReportPage,
    Scale,
    Scheduler,
    Shard,
    SkipExisting,
    Status,
    Threshold,
    Timeout,
    Z,
)

if TYPE_CHECKING:
    from blinkcore.batch.options import Options
    from blinkcore.detection.options import PredictOptions

logger = logging.getLogger(__name__)


@app.command(rich_help_panel=FINDING)
def predict(
    inputs: Inputs = None,
    output: Output = "spots",
    model: ModelName = "general",
    threshold: Threshold = None,
    fdr: Fdr = None,
    radius: Radius = None,
    measure: Measure = None,
    camera: CameraOption = None,
    molecules: Molecules = False,
    scale: Scale = "1",
    dim: Dim = False,
    z: Z = "objects",
    labels: Labels = None,
    channel: Channel = None,
    axes: Axes = None,
    pixel_size: PixelSizes = None,
    level: Level = 0,
    device: Device = "auto",
    amp: Amp = True,
    format_: Format = "csv",
    list_: List = None,
    recursive: Recursive = False,
    shard: Shard = None,
    scheduler: Scheduler = None,
    skip_existing: SkipExisting = False,
    overlay: Overlay = None,
    contrast: Contrast = "run",
    report_: ReportPage = None,
    max_memory: MaxMemory = None,
    timeout: Timeout = None,
    allow_truncated: AllowTruncated = False,
    status: Status = None,
    progress: Progress = None,
    debug: Debug = False,
) -> None:
    """Find spots in images and write them as tables.

    For example: blinkcore predict day1/*.tif -o results --overlay results
    """
    values = dict(locals())
    report = Report(progress, status)
    with ErrorReporter(debug, report):
        _run(values, report)
    report.finish()


def _run(values: dict[str, Any], report: Report) -> None:
    """Check the options, load the model, and go through the images."""
    names = checks.input_names(values["inputs"], values["list_"])
    checks.limit_memory(values["max_memory"])
    output = values["output"]
    target = None if output == "-" else Path(output)
    formats = tuple(f".{name.strip()}" for name in values["format_"].split(","))
    checks.check_usage(values["progress"], formats, values["device"])
    checks.check_format(target, formats, values["status"])
    checks.check_names(values["overlay"], values["status"])
    checks.check_report(values["report_"], target)
    parse_contrast(values["contrast"])
    how = checks.checked_options(values)
    timeout = checks.checked_timeout(values["timeout"])
    first, step = checks.parse_shard(values["shard"])

    from blinkcore.batch.inputs import find_inputs

    found, errors = find_inputs(names, recursive=values["recursive"])
    if step > 1:
        found = checks.shared_out(found, checks.region_columns(values["labels"]))
    found = found[first::step]
    # One of several jobs records what it cannot read, for `merge`.
    unreadable = checks.unreadable(found, how, timeout) if step == 1 else []
    report.start(len(found) + len(errors))
    for error in [*errors, *unreadable]:
        report.add(error)
    if step == 1 and (unreadable or not found):
        return

    from blinkcore.batch.run import predict_files

    batch = _options(values, how, target, formats)
    checks.check_writable(target, values["overlay"])
    with ExitStack() as stack:
        cluster = None
        if values["scheduler"] is not None:
            from blinkcore.batch.cluster import Cluster

            cluster = Cluster(values["scheduler"], batch, values["model"])
            stack.enter_context(closing(cluster))
        # Closed whatever happens, because closing writes what is done.
        events = predict_files(found, batch, report.advance, cluster)
        for event in stack.enter_context(closing(events)):
            report.add(event)
    if values["report_"] is not None and target is not None:
        from blinkcore.report.page import write_report

        write_report(target, values["report_"], contrast=batch.contrast)


def _options(
    values: dict[str, Any],
    how: PredictOptions,
    target: Path | None,
    formats: tuple[str, ...],
) -> Options:
    """Load the model and put all options of the run together."""
    from blinkcore.batch.options import Options
    from blinkcore.network.model import load_model

    model = load_model(values["model"], device=values["device"], amp=values["amp"])
    logger.info(
        "model %s (%s) on %s in %s, threshold %g",
        model.name, model.metadata.architecture, model.device, model.precision,
        how.threshold_for(model),
    )  # fmt: skip
    return Options(
        model=model,
        output=target,
        formats=formats,
        overlay=values["overlay"],
        contrast=parse_contrast(values["contrast"]),
        skip_existing=values["skip_existing"],
        labels=checks.region_columns(values["labels"]),
        timeout=values["timeout"],
        **vars(how),
    )
