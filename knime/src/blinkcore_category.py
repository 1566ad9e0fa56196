"""The place of the nodes in KNIME's repository, and how they fail."""

import knime.extension as knext

category = knext.category(
    path="/community",
    level_id="blinkcore",
    name="blinkcore",
    description="Find fluorescent spots in microscopy images.",
    icon="icons/blinkcore.png",
)


def raise_for_user(error: Exception):
    """End a node with a sentence, without a traceback."""
    raise knext.InvalidParametersError(str(error)) from error
