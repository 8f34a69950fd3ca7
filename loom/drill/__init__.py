"""The drill: a stack of its own under load and faults, and an accountant who trusts nobody."""
