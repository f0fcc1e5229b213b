"""The report: what searches and their ensembles came to, side by side."""
