"""Body of a loop: one row in, the same row with one more column out."""

from lfx.custom.custom_component.component import Component
from lfx.io import DataInput, Output
from lfx.schema.data import Data


class Stamp(Component):
    display_name = "Stamp"
    name = "Stamp"
    inputs = [DataInput(name="row", display_name="Row")]
    outputs = [Output(display_name="Row", name="stamped", method="stamp")]

    def stamp(self) -> Data:
        return Data(data={"word": self.row.data["word"], "stamp": self.row.data["word"].upper()})
