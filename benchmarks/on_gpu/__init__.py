"""The measurements of `benchmarks/gpu.py`, one file each."""
