"""Turns the words of a Data value into a table with a text, a number and a missing value."""

import pandas as pd
from lfx.custom.custom_component.component import Component
from lfx.io import DataInput, Output
from lfx.schema.dataframe import DataFrame


class MakeTable(Component):
    display_name = "Make Table"
    name = "MakeTable"
    inputs = [DataInput(name="data", display_name="Data")]
    outputs = [Output(display_name="Table", name="table", method="build_table")]

    def build_table(self) -> DataFrame:
        words = self.data.data["nested"]["words"]
        return DataFrame(
            pd.DataFrame(
                {
                    "word": words,
                    "length": [len(word) for word in words],
                    "when": pd.to_datetime(["2026-01-02T03:04:05"] * len(words)),
                    "maybe": [None if index % 2 else index / 4 for index in range(len(words))],
                }
            )
        )
