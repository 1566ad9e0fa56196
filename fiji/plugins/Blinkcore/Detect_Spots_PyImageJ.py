# @ ImagePlus imp
# @ String (label="Model", value="general") model
# @ String (label="Threshold (auto: the model's own)", value="auto") threshold
# @ Integer (label="Channel (from 1, 0 for all)", value=0) channel
# @ Double (label="Measure in a disk of radius (px, 0 for no intensities)", value=0) radius
# @output Integer count
"""Plugins > Blinkcore > Detect Spots PyImageJ, for Fiji's Python mode and PyImageJ.

As a macro: run("Detect Spots PyImageJ", "model=general threshold=auto channel=0 radius=0").
Needs blinkcore and blinkcore_fiji.py in Fiji's Python. No print() here: it has no writer.
"""

try:
    from blinkcore_fiji import detect
except ImportError:  # Jython, which plain Fiji runs this in, knows no `raise ... from`
    raise RuntimeError(  # noqa: B904
        "this command runs in Fiji's Python mode with blinkcore installed; in plain Fiji "
        "use Plugins > Blinkcore > Detect Spots"
    )

spots = detect(
    None,
    imp,  # noqa: F821 (given by SciJava)
    model=str(model),  # noqa: F821
    threshold=None if str(threshold) in ("auto", "") else float(threshold),  # noqa: F821
    channel=int(channel) - 1 if int(channel) > 0 else None,  # noqa: F821
    radius=float(radius) or None,  # noqa: F821
)
count = len(spots)
