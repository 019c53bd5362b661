"""Tests that take long: .ci/run runs them, or `pytest tests/dear`."""
