//! Type names on handles: their old and new spellings, and which of them can travel.

/// Types whose values can be written down and read back in another process.
const TRAVELLING: [&str; 12] = [
    "Message",
    "JSON",
    "Table",
    "Text",
    "str",
    "int",
    "float",
    "bool",
    "dict",
    "list",
    "NestedDict",
    "Document",
];

/// Types of live objects whose producers only construct: building them twice has no effect beyond
/// the memory, so every consumer may have its own copy.
const CONSTRUCTED: [&str; 25] = [
    "Tool",
    "BaseTool",
    "StructuredTool",
    "Toolkit",
    "BaseToolkit",
    "Toolset",
    "LanguageModel",
    "BaseLanguageModel",
    "BaseLLM",
    "BaseChatModel",
    "Embeddings",
    "Memory",
    "BaseMemory",
    "BaseChatMemory",
    "BaseChatMessageHistory",
    "TextSplitter",
    "OutputParser",
    "BaseOutputParser",
    "BaseDocumentCompressor",
    "PromptTemplate",
    "ChatPromptTemplate",
    "BasePromptTemplate",
    "BaseLoader",
    "SQLDatabase",
    "VectorStoreInfo",
];

/// The name under which a type is known today.
#[must_use]
pub fn normalise(name: &str) -> &str {
    match name {
        "Data" => "JSON",
        "DataFrame" => "Table",
        other => other,
    }
}

/// Whether a value of this (normalised) type can travel between containers.
#[must_use]
pub fn travels(name: &str) -> bool {
    TRAVELLING.contains(&name)
}

/// Whether producing this (normalised) type is known to be mere construction.
#[must_use]
pub fn is_constructed(name: &str) -> bool {
    CONSTRUCTED.contains(&name)
}

/// Whether some given type is taken, comparing under today's names.
pub(super) fn compatible<'a>(given: impl IntoIterator<Item = &'a str>, taken: &[String]) -> bool {
    given.into_iter().any(|given| taken.iter().any(|taken| normalise(taken) == normalise(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_spellings_meet() {
        assert!(compatible(["Data"], &["JSON".to_owned()]));
        assert!(compatible(["Table"], &["DataFrame".to_owned()]));
        assert!(!compatible(["Data"], &["DataFrame".to_owned()]));
        assert!(!compatible([], &["JSON".to_owned()]));
    }

    #[test]
    fn nothing_both_travels_and_is_constructed() {
        assert!(CONSTRUCTED.iter().all(|name| !travels(name)));
    }
}
