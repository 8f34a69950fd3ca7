"""What Loom is about, as values and decisions: no I/O, no clock of its own."""
