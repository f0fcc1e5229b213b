"""The product: what an ensemble leaves for use. Predicts without Ray, Optuna, scikit-learn or a tracking store."""

__all__ = [
    "combination",
    "description",
    "export",
    "format",
    "lesion_shape",
    "mlflow_model",
    "networks",
    "prediction",
    "predictor",
    "stack",
    "triage",
]
