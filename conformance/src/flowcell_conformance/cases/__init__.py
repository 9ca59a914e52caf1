"""What is asked of both servers, one module per family of flows."""

from . import (
    agents,
    basics,
    constructs,
    files,
    knowledge,
    mcp,
    models,
    processing,
    requests,
    routing,
    starters,
    subflows,
    web,
)

CASES = (
    *basics.CASES,
    *requests.CASES,
    *routing.CASES,
    *constructs.CASES,
    *files.CASES,
    *processing.CASES,
    *models.CASES,
    *agents.CASES,
    *mcp.CASES,
    *subflows.CASES,
    *web.CASES,
    *knowledge.CASES,
    *starters.CASES,
)
