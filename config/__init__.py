"""The experiment's settings: schema, reader, checks and command line (standalone: imports no other room)."""
