"""What crosses the broker: its topology, and every message as a versioned, validated value."""
