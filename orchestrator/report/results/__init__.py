"""What a page shows of models and what they said of test images."""

__all__ = [
    "answers",
    "cases",
    "curves",
    "errors",
    "glossary",
    "malignancy",
    "means",
    "paired",
    "scores",
    "statements",
    "subject",
]
