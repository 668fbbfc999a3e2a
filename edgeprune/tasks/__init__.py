"""What each command does, as one function: read, call a stage, write. The whole job is in `pipeline.py`."""
