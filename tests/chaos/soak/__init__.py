"""A soak: worker processes, and everything that can happen to them at once; then nothing may be lost.

`python -m tests.chaos.soak`, or `nox -s soak`.
"""
