"""What requests may say, a noun a module: strict types, every bound, no field nobody knows."""
