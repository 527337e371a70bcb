"""Recognition without torch: an exported model, run by onnxruntime and numpy."""
