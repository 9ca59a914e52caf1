"""The flows, one module per family of constructs."""
