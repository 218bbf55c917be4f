"""What the tasks that look into a trained network share."""
