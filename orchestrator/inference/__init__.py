"""The product: what an ensemble leaves for use. Predicts without Ray, Optuna, scikit-learn or a tracking store."""
