"""The benchmarks: that they run and tell what they should, not what they find."""
