"""One self-contained page about the results of a run."""
