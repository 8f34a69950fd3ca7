"""What all unit tests share."""

from __future__ import annotations

from flask import Flask
from remembered_rules import Remembered

Flask.url_rule_class = Remembered
