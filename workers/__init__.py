"""Project agents: Celery workers that take beads, work on them and report."""
