"""The Celery application, as the agents, Flower and the `celery` command know it.

Importing it connects nowhere and reads no settings: celeryconfig is read when they are needed. It
has no task of its own: the process that can work on beads registers one (workers.task).
"""

from __future__ import annotations

from celery import Celery

app = Celery("loom")
app.config_from_object("celeryconfig")
