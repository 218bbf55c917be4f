"""What the command line can ask for: one file a task, each with `run(config)`."""
