"""Langflow's own starter projects, from its wheel, as they stand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import langflow

FILES = Path(langflow.__file__).parent / "initial_setup" / "starter_projects"

# What the harness calls them; `substitutes.py` says what of each is replaced.
NAMES = {
    "model": "Basic Prompting",
    "blog_writer": "Blog Writer",
    "content_aggregator": "Content Aggregator",
    "component_generator": "Custom Component Generator",
    "deep_research": "Deep Research Agent",
    "document_qa": "Document Q&A",
    "financial_report": "Financial Report Parser",
    "hybrid_search": "Hybrid Search RAG",
    "image_sentiment": "Image Sentiment Analysis",
    "instagram": "Instagram Copywriter",
    "knowledge_retrieval": "Knowledge Retrieval",
    "market_research": "Market Research",
    "meeting_summary": "Meeting Summary",
    "memory_chatbot": "Memory Chatbot",
    "multi_agent": "Multi Agent Flow",
    "portfolio": "Portfolio Website Code Generator",
    "price_deals": "Price Deal Finder",
    "translation_loop": "Research Translation Loop",
    "saas_pricing": "SaaS Pricing",
    "seo": "SEO Keyword Generator",
    "sequential_agents": "Sequential Tasks Agents",
    "simple_agent": "Simple Agent",
    "social_media": "Social Media Agent",
    "text_sentiment": "Text Sentiment Analysis",
    "travel": "Travel Planning Agents",
    "twitter": "Twitter Thread Generator",
    "vector_store_rag": "Vector Store RAG",
}


def _reader(title: str) -> Callable[[], dict[str, Any]]:
    return lambda: json.loads((FILES / f"{title}.json").read_text())


FLOWS = {name: _reader(title) for name, title in NAMES.items()}

missing = {file.stem for file in FILES.glob("*.json")} ^ set(NAMES.values())
if missing:
    message = f"Langflow's wheel and this list differ: {sorted(missing)}"
    raise RuntimeError(message)
