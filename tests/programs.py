"""Starting the installed program as a user does."""

import subprocess
import sys
from pathlib import Path

BLINKCORE = Path(sys.executable).with_name("blinkcore")


def run_blinkcore(*arguments, **options):
    """Run the command to its end; gives its exit status and what it printed."""
    return subprocess.run(
        [BLINKCORE, *map(str, arguments)],
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="replace",
        timeout=300,
        **options,
    )
