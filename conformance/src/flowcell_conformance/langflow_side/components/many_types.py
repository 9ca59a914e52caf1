"""One value of each type that Python keeps apart and JSON does not."""

import datetime as dt
import decimal
import uuid

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.data import Data


class ManyTypes(Component):
    display_name = "Many Types"
    name = "ManyTypes"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Data", name="out", method="run_it")]

    def run_it(self) -> Data:
        return Data(
            data={
                "text": self.text,
                "bytes": b"\x00\xff",
                "tuple": (1, "two", None),
                "set": {3},
                "when": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
                "day": dt.date(2026, 1, 2),
                "decimal": decimal.Decimal("1.10"),
                "uuid": uuid.UUID(int=7),
                "keys": {1: "int", "1": "str"},
                "nested": [{"deep": [(), {}, []]}],
                "bool": True,
                "none": None,
            }
        )
