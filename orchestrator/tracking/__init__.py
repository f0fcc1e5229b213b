"""The MLflow store: written by one thread, ranked, and its registry."""
