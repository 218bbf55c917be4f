"""Sources of labelled images, one file for each kind of dataset."""
