"""`python -m blinkcore` is the command line."""

from blinkcore.cli import main

main()
