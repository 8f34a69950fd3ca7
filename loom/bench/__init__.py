"""Measurements of Loom on a stack of their own, each beside the same without what it costs."""
