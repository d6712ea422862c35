"""Programs that measure Stepwell: `python -m benchmarks`, from the root of the checkout. Not installed with it."""
