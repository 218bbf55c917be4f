"""What is trained: the LightningModule, its metrics, checkpoints, loggers and schedules."""
