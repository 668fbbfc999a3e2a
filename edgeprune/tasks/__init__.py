"""Work of each command, as one function: read, call a stage, write. The whole job is in `pipeline`."""
