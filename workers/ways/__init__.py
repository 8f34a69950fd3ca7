"""Ways to work on a bead, each an entry point of the group `loom.ways`."""
