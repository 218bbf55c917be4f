"""Datasets rewritten once for reading fast: 256-pixel images in LitData's chunks."""
