"""The executions of a classifier: reference, compiled, packed kernels and jagged tensors."""
