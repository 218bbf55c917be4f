"""Results as files: `result.json` and tables."""
