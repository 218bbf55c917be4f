"""The static page of a run: what wandb shows online, shown offline."""
