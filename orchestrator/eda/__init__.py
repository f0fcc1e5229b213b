"""The page that looks at a dataset."""
