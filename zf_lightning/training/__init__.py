"""Training: the LightningModule, its metrics, checkpoints, loggers and schedules."""
