"""Put the helpers on the path, and give lfx the settings it has in the runner."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import os

_before = dict(os.environ)
from flowcell_runner import environment

environment.prepare()
# Only settings are wanted here; the machine's own variables stay for child processes.
os.environ.update({name: value for name, value in _before.items() if name not in os.environ})
