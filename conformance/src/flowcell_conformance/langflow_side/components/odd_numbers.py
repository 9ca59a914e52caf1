"""Numbers that JSON has no word for."""

import math

from lfx.custom.custom_component.component import Component
from lfx.io import MessageTextInput, Output
from lfx.schema.data import Data


class OddNumbers(Component):
    display_name = "Odd Numbers"
    name = "OddNumbers"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(display_name="Data", name="out", method="run_it")]

    def run_it(self) -> Data:
        return Data(
            data={
                "text": self.text,
                "nan": math.nan,
                "inf": math.inf,
                "minus": -math.inf,
                "big": 2**70,
                "zero": -0.0,
            }
        )
