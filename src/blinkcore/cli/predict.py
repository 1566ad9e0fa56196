"""`blinkcore predict`."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from blinkcore.cli import predict_options as options
from blinkcore.cli.app import (
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
from blinkcore.cli.console import Report, one_sentence
from blinkcore.cli.predict_options import (
    AllowTruncated,
    Channel,
    Dim,
    Fdr,
    Format,
    Inputs,
    Labels,
    Level,
    List,
    MaxMemory,
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
    input_names,
)


@app.command()
def predict(
    inputs: Inputs = None,
    output: Output = "spots",
    model: ModelName = "general",
    threshold: Threshold = None,
    fdr: Fdr = None,
    radius: Radius = None,
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
    """Find spots in images and write them as tables."""
    values = dict(locals())
    report = Report(progress, status)
    with one_sentence(debug, report):
        _run(values, report)
    report.finish()


def _run(values: dict[str, Any], report: Report) -> None:
    """Check the options, load the model, and go through the images."""
    names = input_names(values["inputs"], values["list_"])
    options.limit_memory(values["max_memory"])
    output = values["output"]
    target = None if output == "-" else Path(output)
    formats = tuple(f".{name.strip()}" for name in values["format_"].split(","))
    options.check_usage(values["progress"], formats)
    options.check_format(target, formats, values["status"])
    options.check_report(values["report_"], target)
    contrast = parse_contrast(values["contrast"])
    how = options.predict_options(values)
    timeout = options.checked_timeout(values["timeout"])
    first, step = options.parse_shard(values["shard"])

    from blinkcore.batch.run import Options, find_inputs, predict_files
    from blinkcore.network.model import load_model

    model = load_model(values["model"], device=values["device"], amp=values["amp"])
    options.check_writable(target, values["overlay"])
    batch = Options(
        model=model,
        output=target,
        formats=formats,
        overlay=values["overlay"],
        contrast=contrast,
        skip_existing=values["skip_existing"],
        labels=options.region_columns(values["labels"]),
        truncated=values["allow_truncated"],
        timeout=timeout,
        **vars(how),
    )
    found, errors = find_inputs(names, recursive=values["recursive"])
    found = found[first::step]
    report.start(len(found) + len(errors))
    for error in errors:
        report.add(error)
    with ExitStack() as stack:
        cluster = None
        if values["scheduler"] is not None:
            from blinkcore.batch.cluster import Cluster

            cluster = Cluster(values["scheduler"], batch, values["model"])
            stack.enter_context(closing(cluster))
        # Closed whatever happens, because closing writes what is done.
        events = predict_files(found, batch, report.plane, cluster)
        for event in stack.enter_context(closing(events)):
            report.add(event)
    if values["report_"] is not None and target is not None:
        from blinkcore.report.page import write_report

        write_report(target, values["report_"], contrast=contrast)
