use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::{Driver, Error, Isolation, Needs, OutputRef, Plan, Plans, cell_graph, needs};
use crate::flow::Graph;
use crate::flow::fixture::{Draft, node};

/// One line per cell: members with copies starred, inputs, reasons.
fn shape(graph: &Graph) -> String {
    shape_under(graph, Isolation::Component)
}

fn shape_under(graph: &Graph, isolation: Isolation) -> String {
    let plans = Plans::of(graph).unwrap();
    let plan = plans.under(isolation);
    let mut text = String::new();
    for cell in &plan.cells {
        let star = |member: &String| {
            if cell.copied.contains(member) { format!("{member}*") } else { member.clone() }
        };
        let members: Vec<String> = cell.members.iter().map(star).collect();
        let inputs: Vec<String> =
            cell.inputs.iter().map(|i| format!("{}.{}@{}", i.node, i.output, i.cell)).collect();
        write!(text, "{} [{}]", cell.index, members.join(" ")).unwrap();
        if !inputs.is_empty() {
            write!(text, " <- {}", inputs.join(" ")).unwrap();
        }
        for why in &cell.why {
            write!(text, "\n    {why}").unwrap();
        }
        text.push('\n');
    }
    for skipped in &plan.skipped {
        writeln!(text, "skipped {}: {}", skipped.node, skipped.because).unwrap();
    }
    text
}

#[test]
fn plain_data_is_one_cell_per_node() {
    let graph = Draft::new()
        .nodes("Out-c In-a Mid-b")
        .edge("Mid-b.out:Message", "Out-c.in")
        .edge("In-a.out:Data", "Mid-b.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [In-a]
    1 [Mid-b] <- In-a.out@0
    2 [Out-c] <- Mid-b.out@1
    ");
}

#[test]
fn constructors_are_copied() {
    let graph = Draft::new()
        .nodes("Key-k Model-m Agent-a Agent-b Embed-e")
        .node(node("Tool-t", "Tool").tool())
        .node(node("Tool-u", "Tool").tool())
        .edge("Key-k.out:Message", "Model-m.key")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Model-m.model:LanguageModel", "Agent-b.model")
        .edge("Tool-t.component_as_tool:Tool", "Agent-a.tools")
        .edge("Embed-e.embeddings:Embeddings", "Tool-t.embedding")
        .edge("Agent-a.out:Message", "Agent-b.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Key-k]
    1 [Model-m* Embed-e* Tool-t* Agent-a] <- Key-k.out@0
        Model-m only constructs an object, so Agent-a has its own copy
        Embed-e only constructs an object, so Tool-t has its own copy
        Tool-t only constructs an object, so Agent-a has its own copy
    2 [Model-m* Agent-b] <- Key-k.out@0 Agent-a.out@1
        Model-m only constructs an object, so Agent-b has its own copy
    skipped Tool-u: a tool that nothing uses
    ");
}

#[test]
fn a_store_that_ingests_is_shared() {
    let graph = Draft::new()
        .nodes("File-f Embed-e Store-s Retriever-r Chain-c Other-o")
        .edge("File-f.out:DataFrame", "Store-s.ingest_data")
        .edge("Embed-e.embeddings:Embeddings", "Store-s.embedding")
        .edge("Store-s.vectorstoreconnection:VectorStore", "Retriever-r.store")
        .edge("Store-s.vectorstoreconnection:VectorStore", "Chain-c.store")
        .edge("Store-s.results:Data", "Other-o.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [File-f]
    1 [Embed-e* Store-s Retriever-r Chain-c] <- File-f.out@0
        Embed-e only constructs an object, so Store-s has its own copy
        Retriever-r, Chain-c shares the one Store-s, because it writes what arrives at ingest_data
    2 [Other-o] <- Store-s.results@1
    ");
}

#[test]
fn a_constructor_that_gives_data_also_has_its_own_cell() {
    let graph = Draft::new()
        .nodes("Model-m Agent-a Out-o")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Model-m.text:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Model-m]
        Model-m computes its data here, while its object is copied elsewhere
    1 [Model-m* Agent-a]
        Model-m only constructs an object, so Agent-a has its own copy
    2 [Out-o] <- Model-m.text@0
    ");
    let plan = Plan::of(&graph).unwrap();
    let edges = |id: &str| {
        let payload = cell_graph(&graph, plan.cell_of(id).unwrap());
        let names = payload["edges"].as_array().unwrap().iter();
        let names = names.map(|e| e["data"]["sourceHandle"]["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    // The copy computes the model only, the model's own cell the text only.
    assert_eq!((edges("Agent-a").as_str(), edges("Model-m").as_str()), ("model", "text"));
}

#[test]
fn taking_object_and_data_makes_a_constructor_shared() {
    let graph = Draft::new()
        .nodes("Model-m Agent-a Out-o")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Model-m.text:Message", "Agent-a.in")
        .edge("Model-m.text:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Model-m Agent-a]
        Agent-a shares the one Model-m, because Agent-a takes its data next to its object
    1 [Out-o] <- Model-m.text@0
    ");
}

#[test]
fn cells_that_would_wait_for_each_other_are_merged() {
    let graph = Draft::new()
        .nodes("Store-s First-a Between-b Second-c")
        .edge("Store-s.store:VectorStore", "First-a.store")
        .edge("First-a.out:Message", "Between-b.in")
        .edge("Between-b.out:Message", "Second-c.in")
        .edge("Store-s.store:VectorStore", "Second-c.store")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Store-s First-a Between-b Second-c]
        First-a, Second-c shares the one Store-s, because it is a vector store
        apart, Store-s, First-a, Between-b, Second-c would wait for each other
    ");
}

#[test]
fn unknown_types_are_live_and_shared() {
    let graph = Draft::new()
        .nodes("Odd-o A-a B-b")
        .edge("Odd-o.out:Thing|Message", "A-a.in")
        .edge("Odd-o.out:Thing|Message", "B-b.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Odd-o A-a B-b]
        A-a, B-b shares the one Odd-o, because making Thing may have effects
    ");
}

#[test]
fn what_a_run_observed_is_live() {
    let graph = Draft::new().nodes("A-a B-b").edge("A-a.out:Message", "B-b.in").graph();
    let live = BTreeSet::from([OutputRef { node: "A-a".to_owned(), output: "out".to_owned() }]);
    let plan = Plan::with_observed(&graph, &live).unwrap();
    assert_eq!(plan.cells.len(), 1);
    assert_eq!(Plan::of(&graph).unwrap().cells.len(), 2);
}

#[test]
fn orphan_tools_are_skipped() {
    let graph = Draft::new()
        .nodes("Model-m In-i")
        .node(node("Tool-t", "Tool").tool())
        .edge("Model-m.model:LanguageModel", "Tool-t.model")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Model-m]
    1 [In-i]
    skipped Tool-t: a tool that nothing uses
    ");
    let graph = Draft::new().node(node("Tool-t", "Tool").tool()).graph();
    assert_eq!(Plan::of(&graph), Err(Error::NothingToRun));
}

/// A loop whose body ends at an output of the loop, as Langflow writes it.
fn feedback(source: &str, output: &str, target: &str) -> serde_json::Value {
    json!({
        "source": source, "target": target,
        "data": {
            "sourceHandle": {"dataType": "X", "id": source, "name": output, "output_types": ["Message"]},
            "targetHandle": {"dataType": "X", "id": target, "name": "item", "output_types": ["Message"]},
        },
    })
}

fn loop_node(code: &str) -> crate::flow::fixture::NodeDraft {
    coded("Loop-l", code)
}

fn coded(id: &str, code: &str) -> crate::flow::fixture::NodeDraft {
    node(id, "Coded").raw_field("code", json!({"type": "code", "value": code}))
}

#[test]
fn a_loop_runs_its_body_in_one_cell_and_rebuilds_what_the_body_needs() {
    let secret = json!({"type": "str", "load_from_db": true, "value": "KEY"});
    let graph = Draft::new()
        .nodes("Rows-r Far-f")
        .node(node("Near-n", "Near").raw_field("key", secret))
        .node(loop_node("self.execute_loop_body(rows)"))
        .node(node("End-e", "End").output("out", "Message"))
        .nodes("Body-b Side-s Out-o")
        .edge("Rows-r.out:Message", "Loop-l.data")
        .edge("Far-f.out:Message", "Near-n.in")
        .edge("Near-n.out:Message", "Body-b.near")
        .edge("Loop-l.item:Message", "Body-b.in")
        .edge("Body-b.out:Message", "End-e.in")
        .edge("Body-b.out:Message", "Side-s.in")
        .raw_edge(feedback("End-e", "out", "Loop-l"))
        .edge("Loop-l.done:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Rows-r]
    1 [Far-f]
    2 [Near-n] <- Far-f.out@1
    3 [Loop-l Body-b End-e] <- Rows-r.out@0 Near-n.out@2
        Loop-l runs End-e, Body-b itself, item by item, and builds Far-f, Near-n, Side-s anew each time
    4 [Side-s] <- Body-b.out@3
    5 [Out-o] <- Loop-l.done@3
    ");
    let plan = Plan::of(&graph).unwrap();
    let cell = plan.cell_of("Loop-l").unwrap();
    assert_eq!((cell.id.as_str(), cell.driver), ("Loop-l", Driver::Graph));
    assert_eq!(cell.inner, ["Far-f", "Near-n", "Side-s"]);
    assert_eq!(needs(&graph, cell).variables, ["KEY"]);
    let payload = cell_graph(&graph, cell);
    let code = |id: &str| {
        let mut nodes = payload["nodes"].as_array().unwrap().iter();
        let node = nodes.find(|node| node["id"] == id).unwrap();
        node["data"]["node"]["template"]["code"]["value"].as_str().unwrap().to_owned()
    };
    // What the body needs is there to be built, what stands before or behind the loop is not.
    assert_eq!(
        (code("Near-n"), code("Far-f")),
        ("class Near: pass".into(), "class Far: pass".into())
    );
    assert_eq!((code("Rows-r"), code("Out-o")), (String::new(), String::new()));
    let far = payload["edges"].as_array().unwrap().iter().any(|edge| edge["source"] == "Far-f");
    assert!(far, "the closure is connected");
}

#[test]
fn a_loop_of_an_older_export_is_a_cycle_that_rebuilds_nothing() {
    let graph = Draft::new()
        .nodes("Near-n Rows-r")
        .node(loop_node("self.update_dependency(); self.stop('done')"))
        .nodes("Body-b Show-s Out-o")
        .edge("Near-n.out:Message", "Body-b.near")
        .edge("Rows-r.out:Message", "Loop-l.data")
        .edge("Loop-l.item:Message", "Body-b.in")
        .edge("Body-b.out:Message", "Show-s.in")
        .raw_edge(feedback("Body-b", "out", "Loop-l"))
        .edge("Loop-l.done:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Near-n]
    1 [Rows-r]
    2 [Loop-l Body-b Show-s] <- Rows-r.out@1 Near-n.out@0
        the circle of Loop-l, Body-b only runs as one graph
        every turn of the circle runs Show-s again
    3 [Out-o] <- Loop-l.done@2
    ");
    assert!(Plan::of(&graph).unwrap().cells.iter().all(|cell| cell.inner.is_empty()));
}

#[test]
fn nodes_in_a_circle_are_one_cell_named_after_its_entry() {
    let graph = Draft::new()
        .nodes("Self-s")
        .node(coded("Router-r", "self.stop('enough')"))
        .nodes("In-i Add-a Out-o")
        .edge("In-i.out:Message", "Add-a.in")
        .edge("Add-a.out:Message", "Router-r.in")
        .edge("Router-r.again:Message", "Add-a.back")
        .edge("Router-r.enough:Message", "Out-o.in")
        .edge("Self-s.out:Message", "Self-s.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [Self-s]
        the circle of Self-s only runs as one graph
    1 [In-i]
    2 [Add-a Router-r] <- In-i.out@1
        the circle of Router-r, Add-a only runs as one graph
    3 [Out-o] <- Router-r.enough@2
    ");
    let plan = Plan::of(&graph).unwrap();
    let ids: Vec<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
    assert_eq!(ids, ["Self-s", "In-i", "Add-a", "Out-o"]);
}

#[test]
fn what_hangs_on_a_node_that_closes_no_output_is_built_at_every_turn() {
    let graph = Draft::new()
        .nodes("In-i Body-b")
        .node(coded("Router-r", "self.stop('enough')"))
        .nodes("Aside-a Behind-x Out-o")
        .edge("In-i.out:Message", "Body-b.in")
        .edge("Body-b.out:Message", "Router-r.in")
        .edge("Body-b.aside:Message", "Aside-a.in")
        .edge("Aside-a.out:Message", "Behind-x.in")
        .edge("Router-r.again:Message", "Body-b.back")
        .edge("Router-r.enough:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [In-i]
    1 [Body-b Router-r Aside-a Behind-x] <- In-i.out@0
        the circle of Body-b, Router-r only runs as one graph
        every turn of the circle runs Aside-a, Behind-x again
    2 [Out-o] <- Router-r.enough@1
    ");
}

#[test]
fn an_object_made_in_a_circle_is_made_once_a_turn() {
    let graph = Draft::new()
        .nodes("In-i Model-m Agent-a Other-o")
        .edge("In-i.out:Message", "Model-m.in")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Model-m.model:LanguageModel", "Other-o.model")
        .edge("Agent-a.out:Message", "Model-m.back")
        .graph();
    insta::assert_snapshot!(shape(&graph), @r"
    0 [In-i]
    1 [Model-m Agent-a Other-o] <- In-i.out@0
        Agent-a, Other-o shares the one Model-m, because it stands in a circle
        the circle of Model-m, Agent-a only runs as one graph
        every turn of the circle runs Other-o again
    ");
}

/// A component of Langflow's.
fn stock(id: &str) -> crate::flow::fixture::NodeDraft {
    node(id, "Stock")
}

#[test]
fn a_chain_joins_neighbours_that_are_harmless() {
    let key = json!({"type": "str", "load_from_db": true, "value": "KEY"});
    let graph = Draft::new()
        .node(stock("In-a"))
        .node(stock("Prompt-b"))
        .node(stock("Keyed-c").raw_field("key", key))
        .node(stock("Parse-d"))
        .node(stock("Out-e"))
        .edge("In-a.out:Message", "Prompt-b.in")
        .edge("Prompt-b.out:Message", "Keyed-c.in")
        .edge("Keyed-c.out:Message", "Parse-d.in")
        .edge("Parse-d.out:Message", "Out-e.in")
        .graph();
    insta::assert_snapshot!(shape_under(&graph, Isolation::Chain), @r"
    0 [In-a Prompt-b]
        isolation is chain, and In-a, Prompt-b are Langflow's own and need no secret
    1 [Keyed-c] <- Prompt-b.out@0
    2 [Parse-d Out-e] <- Keyed-c.out@1
        isolation is chain, and Parse-d, Out-e are Langflow's own and need no secret
    ");
    let plan = Plan::isolated(&graph, Isolation::Chain, &BTreeSet::new()).unwrap();
    assert!(plan.cells.iter().all(|cell| cell.driver == Driver::Order));
}

#[test]
fn a_chain_goes_around_no_code_of_a_user() {
    // In-a and Out-c are neighbours, but Mine-b lies between them as well.
    let graph = Draft::new()
        .node(stock("In-a"))
        .nodes("Mine-b")
        .node(stock("Out-c"))
        .edge("In-a.out:Message", "Mine-b.in")
        .edge("In-a.out:Message", "Out-c.direct")
        .edge("Mine-b.out:Message", "Out-c.in")
        .graph();
    insta::assert_snapshot!(shape_under(&graph, Isolation::Chain), @r"
    0 [In-a]
    1 [Mine-b] <- In-a.out@0
    2 [Out-c] <- In-a.out@0 Mine-b.out@1
    ");
}

#[test]
fn who_asks_a_person_shares_no_cell_with_what_ran_before() {
    let tools = json!({"type": "tools", "value": [{"approval_actions": ["approve"]}]});
    let graph = Draft::new()
        .node(stock("In-a"))
        .node(stock("Prompt-b"))
        .node(stock("Ask-h").raw_field("tools_metadata", tools))
        .node(stock("Out-c"))
        .edge("In-a.out:Message", "Prompt-b.in")
        .edge("Prompt-b.out:Message", "Ask-h.in")
        .edge("Ask-h.out:Message", "Out-c.in")
        .graph();
    let plans = Plans::of(&graph).unwrap();
    let cells = |isolation| -> Vec<usize> {
        plans.under(isolation).cells.iter().map(|cell| cell.members.len()).collect()
    };
    assert_eq!(cells(Isolation::Component), [1, 1, 1, 1]);
    assert_eq!(cells(Isolation::Chain), [2, 1, 1]);
    assert_eq!(cells(Isolation::Run), [1, 1, 1, 1]);
}

#[test]
fn a_run_is_one_cell_and_lfx_drives_it() {
    let graph = Draft::new()
        .nodes("In-i Model-m Agent-a Out-o Alone-x")
        .edge("In-i.out:Message", "Agent-a.in")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Agent-a.out:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape_under(&graph, Isolation::Run), @r"
    0 [In-i Model-m Agent-a Out-o Alone-x]
        isolation is run
    ");
    let plan = Plan::isolated(&graph, Isolation::Run, &BTreeSet::new()).unwrap();
    assert_eq!(plan.cells[0].driver, Driver::Graph);
}

#[test]
fn some_flows_only_run_as_a_whole() {
    let code = |source: &str| json!({"type": "code", "value": source});
    let flow = |node| {
        let draft = Draft::new().nodes("In-i").node(node).nodes("Out-o");
        draft.edge("In-i.out:Message", "X-x.in").edge("X-x.out:Message", "Out-o.in")
    };
    let nosy = node("X-x", "X").raw_field("code", code("self.graph.vertices"));
    insta::assert_snapshot!(shape(&flow(nosy).graph()), @r"
    0 [In-i X-x Out-o]
        the flow only runs as a whole: the code of X-x asks its graph for vertices
    ");
    let modest = node("X-x", "X").raw_field("code", code("self.graph.session_id"));
    assert_eq!(Plan::of(&flow(modest).graph()).unwrap().cells.len(), 3);
    let notified = flow(node("X-x", "X")).nodes("Listen-l").graph();
    insta::assert_snapshot!(shape(&notified), @r"
    0 [In-i X-x Out-o Listen-l]
        the flow only runs as a whole: Listen-l reaches others without a connection
    ");
    let endless = Draft::new()
        .nodes("Grow-g Router-r Out-o")
        .edge("Grow-g.out:Message", "Router-r.in")
        .edge("Router-r.again:Message", "Grow-g.in")
        .edge("Router-r.enough:Message", "Out-o.in")
        .graph();
    insta::assert_snapshot!(shape(&endless), @r"
    0 [Grow-g Router-r Out-o]
        the flow only runs as a whole: every node waits for another, so lfx picks one
    ");
}

#[test]
fn plans_that_are_the_same_are_stored_once() {
    let one = Draft::new().nodes("In-i").graph();
    let stored = serde_json::to_value(Plans::of(&one).unwrap()).unwrap();
    assert_eq!((stored.get("chain"), stored["version"].as_u64()), (None, Some(2)));
    assert_eq!(stored["run"]["cells"][0]["driver"], "graph");
    // What an older program wrote is read, and seen to be older.
    let mut old = serde_json::to_value(Plan::of(&one).unwrap()).unwrap();
    old["version"] = json!(1);
    assert_eq!(serde_json::from_value::<Plans>(old).unwrap().version(), 1);
}

#[test]
fn a_cell_graph_holds_members_and_blank_neighbours() {
    let secret = json!({"type": "str", "password": true, "value": "s3cret"});
    let graph = Draft::new()
        .node(node("In-a", "In").raw_field("key", secret))
        .nodes("Mid-b Out-c Far-d")
        .edge("In-a.out:Message", "Mid-b.in")
        .edge("Mid-b.out:Message", "Out-c.in")
        .edge("Out-c.out:Message", "Far-d.in")
        .graph();
    let plan = Plan::of(&graph).unwrap();
    let payload = cell_graph(&graph, plan.cell_of("Mid-b").unwrap());
    let nodes = payload["nodes"].as_array().unwrap();
    let code = |index: usize| nodes[index]["data"]["node"]["template"]["code"]["value"].clone();
    assert_eq!(nodes.len(), 3);
    assert_eq!((code(0), code(1), code(2)), (json!(""), json!("class Mid: pass"), json!("")));
    assert!(!payload.to_string().contains("s3cret"));
    assert_eq!(payload["edges"].as_array().unwrap().len(), 2);
    assert_eq!(nodes[1], graph.node("Mid-b").unwrap().to_value());
}

#[test]
fn needs_are_found() {
    let agent = node("Agent-a", "Agent")
        .raw_field("key", json!({"type": "str", "load_from_db": true, "value": "MY_KEY"}))
        .raw_field("fed", json!({"type": "str", "load_from_db": true, "value": "NOT_READ"}))
        .raw_field("off", json!({"type": "str", "load_from_db": false, "value": "PLAIN"}))
        .raw_field("model", json!({"type": "model", "value": [{"provider": "OpenAI", "name": "x"}]}))
        .raw_field("other", json!({"type": "model", "value": "[{\"provider\": \"New One\"}]"}))
        .raw_field("unset", json!({"type": "model", "value": ""}))
        .raw_field("rows", json!({
            "type": "table", "table_schema": {"columns": [{"name": "secret", "load_from_db": true}, {"name": "x"}]},
            "value": [{"secret": "ROW_KEY", "x": "y"}],
        }))
        .with("metadata", json!({"dependencies": {"dependencies": [{"name": "lfx", "version": null}, {"name": "toml", "version": "1"}]}}));
    let graph =
        Draft::new().nodes("In-i").node(agent).edge("In-i.out:Message", "Agent-a.fed").graph();
    let plan = Plan::of(&graph).unwrap();
    insta::assert_json_snapshot!(needs(&graph, plan.cell_of("Agent-a").unwrap()), @r#"
    {
      "variables": [
        "MY_KEY",
        "ROW_KEY"
      ],
      "providers": [
        {
          "provider": "New One",
          "variables": [
            "NEW_ONE_API_KEY"
          ]
        },
        {
          "provider": "OpenAI",
          "variables": [
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL"
          ]
        }
      ],
      "models_unset": [
        {
          "node": "Agent-a",
          "field": "unset"
        }
      ],
      "packages": [
        {
          "name": "lfx",
          "version": null
        },
        {
          "name": "toml",
          "version": "1"
        }
      ]
    }
    "#);
    assert_eq!(needs(&graph, plan.cell_of("In-i").unwrap()), Needs::default());
}

#[test]
fn a_plan_explains_itself() {
    let graph = Draft::new()
        .nodes("Model-m Agent-a Out-o")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Agent-a.out:Message", "Out-o.in")
        .graph();
    let plan = Plan::of(&graph).unwrap();
    insta::assert_json_snapshot!(plan.explain(&graph), @r#"
    {
      "cells": [
        {
          "index": 0,
          "id": "Agent-a",
          "depends_on": [],
          "members": [
            {
              "node": "Model-m",
              "display_name": "Model",
              "role": "copy"
            },
            {
              "node": "Agent-a",
              "display_name": "Agent",
              "role": "primary"
            }
          ],
          "why": [
            "Model-m only constructs an object, so Agent-a has its own copy"
          ]
        },
        {
          "index": 1,
          "id": "Out-o",
          "depends_on": [
            0
          ],
          "members": [
            {
              "node": "Out-o",
              "display_name": "Out",
              "role": "primary"
            }
          ],
          "why": []
        }
      ],
      "edges": [
        {
          "from": "Model-m.model",
          "to": "Agent-a.model",
          "carries": "live object: LanguageModel",
          "is_live": true,
          "from_cell": null,
          "to_cells": [
            0
          ]
        },
        {
          "from": "Agent-a.out",
          "to": "Out-o.in",
          "carries": "data: Message",
          "is_live": false,
          "from_cell": 0,
          "to_cells": [
            1
          ]
        }
      ],
      "skipped": []
    }
    "#);
}

#[test]
fn the_stored_form_is_fixed() {
    let graph = Draft::new()
        .nodes("Model-m Agent-a Out-o")
        .edge("Model-m.model:LanguageModel", "Agent-a.model")
        .edge("Agent-a.out:Message", "Out-o.in")
        .graph();
    let plan = Plan::of(&graph).unwrap();
    insta::assert_snapshot!(serde_json::to_string(&plan).unwrap(), @r#"{"version":2,"cells":[{"index":0,"id":"Agent-a","members":["Model-m","Agent-a"],"copied":["Model-m"],"depends_on":[],"inputs":[],"outputs":[{"node":"Agent-a","output":"out"}],"why":[{"reason":"copied","node":"Model-m","consumers":["Agent-a"]}]},{"index":1,"id":"Out-o","members":["Out-o"],"copied":[],"depends_on":[0],"inputs":[{"node":"Agent-a","output":"out","cell":0}],"outputs":[],"why":[]}],"edges":[{"source":"Model-m","output":"model","target":"Agent-a","field":"model","carries":{"kind":"live","types":["LanguageModel"]}},{"source":"Agent-a","output":"out","target":"Out-o","field":"in","carries":{"kind":"data","types":["Message"]}}],"skipped":[]}"#);
}

#[test]
fn the_largest_flow_is_planned_and_copies_are_bounded() {
    let mut draft = Draft::new();
    for position in 0..2_000 {
        draft = draft.node(
            node(&format!("N-{position}"), "N").field("in", "other").output("out", "Message"),
        );
    }
    let mut data = draft.data();
    let wire = |source: usize, target: usize, kind: &str| {
        json!({
            "source": format!("N-{source}"), "target": format!("N-{target}"),
            "data": {
                "sourceHandle": {"dataType": "N", "name": "out", "output_types": [kind]},
                "targetHandle": {"fieldName": "in", "inputTypes": ["Message", kind], "type": "other"},
            },
        })
    };
    data["edges"] = (0..1_999).map(|at| wire(at, at + 1, "Message")).collect();
    assert_eq!(Plan::of(&Graph::read(&data).unwrap()).unwrap().cells.len(), 2_000);
    // A chain of a thousand constructors, the last taken by a thousand consumers.
    let chain = (0..999).map(|at| wire(at, at + 1, "Embeddings"));
    data["edges"] = chain.chain((1_000..2_000).map(|at| wire(999, at, "Embeddings"))).collect();
    assert_eq!(Plan::of(&Graph::read(&data).unwrap()), Err(Error::TooManyMembers));
}
