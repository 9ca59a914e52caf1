"""Files that cases upload."""

from __future__ import annotations

import base64

REPORT = (
    "Acme grew. Revenue was 4 million EUR, net income 2 million. Great people, awful coffee. Zoë signed.\n"
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

SAMPLES: dict[str, bytes] = {"report.txt": REPORT.encode(), "pixel.png": base64.b64decode(PIXEL)}
