"""What Loom reaches outside of itself, behind gRPC: so far, the store of artifacts."""
