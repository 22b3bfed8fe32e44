"""Where do people see a run? W&B, TensorBoard, MLflow."""
