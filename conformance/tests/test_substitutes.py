from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from flowcell_conformance.cases import CASES
from flowcell_conformance.substitutes import CODE, FIELDS, SEARCH, declared, substituted

if TYPE_CHECKING:
    from flowcell_conformance.normalise import Json


def flow(code: str) -> dict[str, Json]:
    return {"data": {"nodes": [{"id": "N-1", "data": {"node": {"template": {"code": {"value": code}}}}}]}}


def test_an_address_is_replaced_and_nothing_else() -> None:
    changed = substituted("web_search", flow(f"url = {SEARCH.old}  # search"), None)
    assert f"url = {SEARCH.new}  # search" in str(changed)


def test_a_component_that_has_changed_is_noticed() -> None:
    with pytest.raises(LookupError, match="found in 0 nodes"):
        substituted("web_search", flow("url = 'https://elsewhere'"), None)


def test_another_flow_is_left_alone() -> None:
    before = flow(f"url = {SEARCH.old}")
    assert substituted("echo", before, None) == flow(f"url = {SEARCH.old}")


def test_a_field_is_set() -> None:
    node: dict[str, Json] = {"template": {"database_url": {"value": ""}}}
    exported = {"data": {"nodes": [{"id": "SQLComponent-NMSUa", "data": {"node": node}}]}}
    assert "sqlite://" in str(substituted("saas_pricing", cast("dict[str, Json]", exported), None))


def test_every_substitute_belongs_to_a_flow_that_is_asked() -> None:
    assert set(CODE) | set(FIELDS) <= {case.flow for case in CASES}


def test_what_is_replaced_is_declared() -> None:
    assert declared("saas_pricing", uses_model=True)[-1] == "the database is SQLite in memory"
    assert declared("echo", uses_model=False) == ()
