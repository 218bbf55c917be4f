"""Static pages of a run and of a sweep: what wandb shows online, shown offline."""
