"""Resolves and installs the packages of a flow, in a container of its own.

It runs in the image of the runtime with uv added, without network but for the egress
proxy's socket, and as nobody. Standard output is the result: the lock of `resolve`, the
tar archive of `install`. Standard error is the reason of a failure. Nothing
it says is trusted: the worker reads the archive again, entry by entry.
"""
