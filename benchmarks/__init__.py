"""Speed of wg against the raw store, as ratios measured in one run: `python -m benchmarks --help`."""
