"""Other ways into a flow: webhooks, other flows."""

from lfx.components.flow_controls.run_flow import RunFlowComponent
from lfx.components.input_output import TextInputComponent
from lfx.components.input_output.webhook import WebhookComponent
from lfx.components.processing.parser import ParserComponent
from lfx.graph import Graph

from .kit import chat_input, chat_output, prompt


def webhook() -> Graph:
    """A Webhook whose payload is set by tweak, as its route does."""
    start = WebhookComponent(_id="Webhook-aaaaa")
    parser = ParserComponent(_id="Parser-ppppp")
    parser.set(input_data=start.build_data, mode="Stringify")
    return Graph(start, chat_output(parser.parse_combined_text))


def chat_and_text() -> Graph:
    """A chat input and a text input in one flow."""
    start = chat_input()
    text = TextInputComponent(_id="TextInput-bbbbb")
    text.set(input_value="stored")
    both = prompt("ppppp", "{a}/{b}", a=start.message_response, b=text.text_response)
    return Graph(start, chat_output(both.build_prompt))


def run_flow() -> Graph:
    """A flow that names another which is not there."""
    start = chat_input()
    other = RunFlowComponent(_id="RunFlow-bbbbb")
    other.set(flow_name_selected="conformance no such flow")
    graph = Graph(start, chat_output(start.message_response))
    graph.add_component(other)
    return graph


FLOWS = {"webhook": webhook, "chat_and_text": chat_and_text, "run_flow": run_flow}
