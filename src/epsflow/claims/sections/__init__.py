"""The statements of the notes, one file per section, each on top of the check that measures it."""
