"""The program inside a Flowcell container: one process, one cell, one answer."""

__version__ = "0.1.0"
