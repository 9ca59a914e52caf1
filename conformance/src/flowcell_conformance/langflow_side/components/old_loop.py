"""A loop as exports from before Langflow 1.8 carry it: a real cycle, one item a turn."""

from lfx.custom.custom_component.component import Component
from lfx.io import HandleInput, Output
from lfx.schema.data import Data
from lfx.schema.dataframe import DataFrame


class OldLoop(Component):
    display_name = "Loop"
    name = "OldLoop"
    inputs = [
        HandleInput(name="data", display_name="Inputs", input_types=["DataFrame", "Data", "Table", "JSON"])
    ]
    outputs = [
        Output(display_name="Item", name="item", method="item_output", allows_loop=True, group_outputs=True),
        Output(display_name="Done", name="done", method="done_output", group_outputs=True),
    ]

    def _state(self):
        if not self.ctx.get(f"{self._id}_initialized"):
            rows = self.data.to_data_list() if isinstance(self.data, DataFrame) else [self.data]
            self.update_ctx(
                {
                    f"{self._id}_rows": rows,
                    f"{self._id}_index": 0,
                    f"{self._id}_done": [],
                    f"{self._id}_initialized": True,
                }
            )
        return self.ctx[f"{self._id}_rows"], self.ctx[f"{self._id}_index"], self.ctx[f"{self._id}_done"]

    def item_output(self) -> Data:
        rows, index, done = self._state()
        if index > len(rows):
            self.stop("item")
            return Data(text="")
        if self.item is not None and not isinstance(self.item, str):
            done.append(self.item)
        self.update_ctx({f"{self._id}_index": index + 1, f"{self._id}_done": done})
        feedback = self.get_incoming_edge_by_target_param("item")
        waits = self.graph.run_manager.run_predecessors[self._id]
        if feedback not in waits:
            waits.append(feedback)
        return rows[index] if index < len(rows) else Data(text="")

    def done_output(self) -> DataFrame:
        rows, index, done = self._state()
        if index > len(rows):
            self.stop("item")
            self.start("done")
            return DataFrame([row.data for row in done])
        self.stop("done")
        return DataFrame([])
