"""The command line: from arguments to a task."""
