"""What components do with a Linux system; see `__main__`."""
