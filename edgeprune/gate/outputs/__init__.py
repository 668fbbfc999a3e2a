"""A verdict in the forms that CI systems read, one form a file. Pure: each returns text."""
