"""Work that exists elsewhere: read from other trackers' files, planned, and written back."""
