"""Files, processors and processes: nothing here knows of the project."""
