"""Storages with one deliberate defect each, and the checks that were made to catch it."""
