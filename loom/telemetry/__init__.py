"""What a process says of itself: logs with correlation ids, traces, and what it waits for."""
