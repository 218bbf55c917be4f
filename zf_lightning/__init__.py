"""Visualizing and Understanding Convolutional Networks (Zeiler & Fergus, 2014), as experiments."""
