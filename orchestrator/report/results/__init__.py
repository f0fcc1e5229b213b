"""What a page shows of models and what they said of test images."""

__all__ = ["cases", "curves", "errors", "means", "observations", "paired", "scores", "subject"]
