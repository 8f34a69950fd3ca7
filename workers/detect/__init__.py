"""How a repository is prepared, built, linted and tested, told from its files."""
