"""Real processes, networks and disks that fail: for CI in a short form, for minutes with `nox -s chaos`, and a soak."""
