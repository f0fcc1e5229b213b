"""What a page shows of models and what they said of test images."""
