"""Visualizing and Understanding Convolutional Networks (Zeiler & Fergus, 2014), as experiments."""

__version__ = "0.1.0"
