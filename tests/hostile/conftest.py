"""The modules beside the tests are imported by their names."""
