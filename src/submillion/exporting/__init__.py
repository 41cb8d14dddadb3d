"""Makes an export of a run: files in the forms of other programs, each proven against the run's own answers."""
