"""What a model file may hold and do, checked before PyTorch or onnxruntime sees it."""
