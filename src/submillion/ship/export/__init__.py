"""Forms of a finished run that other programs read: a merged checkpoint, ONNX and OpenVINO graphs, and their proof."""
