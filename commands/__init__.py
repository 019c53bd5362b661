"""What is behind predict.py, export.py and runs.py, and behind what train.py does instead of a run."""
