"""Ratios, each measured side by side in one run. `python -m benchmarks` prints and keeps them."""
