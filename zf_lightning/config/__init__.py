"""What the options are, and how they become objects."""
