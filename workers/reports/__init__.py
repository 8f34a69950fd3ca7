"""What test tools and linters report, read from their output and their report files."""
