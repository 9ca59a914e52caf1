//! Which call it is. Paths and queries are read strictly; what is sent on is made anew.

use hyper::Method;

use crate::refusal::{Refusal, must};

/// Longest name of anything.
const NAME_CHARS_MAX: usize = 256;
/// The oldest API of an engine that Flowcell supports.
const API_MIN: (u32, u32) = (1, 41);

/// One of the calls that a worker, its sweeper, its reaper or `flowcell doctor` makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `GET /_ping`, `/version`, `/info`.
    About(&'static str),
    Create {
        name: String,
    },
    List {
        all: bool,
        labels: Vec<String>,
    },
    Inspect {
        id: String,
    },
    Start {
        id: String,
    },
    Attach {
        id: String,
        streams: Streams,
    },
    Wait {
        id: String,
        condition: &'static str,
    },
    Update {
        id: String,
    },
    Remove {
        id: String,
        force: bool,
    },
    /// An archive, unpacked at the root of a container that was never started.
    Upload {
        id: String,
    },
    Commit {
        id: String,
        repository: String,
        tag: String,
    },
    InspectImage {
        name: String,
    },
    ListImages {
        labels: Vec<String>,
    },
    RemoveImage {
        name: String,
    },
}

/// What of a container is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// A call, and the version of the API that it is made in: `/v1.41`, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) version: String,
    pub(crate) call: Call,
}

/// Reads method, path and query.
pub(crate) fn read(method: &Method, path: &str, query: &str) -> Result<Route, Refusal> {
    must(path.len() <= 2_048 && query.len() <= 8_192, "path", "the address is too long")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    must(path.chars().all(plain), "path", "a path has plain characters only, none encoded")?;
    let rest = path.strip_prefix('/').ok_or_else(|| Refusal::new("path", "no path"))?;
    let mut segments: Vec<&str> = rest.split('/').collect();
    let odd = |part: &&str| part.is_empty() || part.chars().all(|c| c == '.');
    must(!segments.iter().any(odd), "path", "a path has no empty and no dotted parts")?;
    let version = version(&mut segments)?;
    let mut query = Query::read(query)?;
    let call = call(method, &segments, &mut query)?;
    query.end()?;
    Ok(Route { version, call })
}

fn version(segments: &mut Vec<&str>) -> Result<String, Refusal> {
    let Some(first) = segments.first().and_then(|first| first.strip_prefix('v')) else {
        return Ok(String::new());
    };
    let Some((major, minor)) = first.split_once('.') else { return Ok(String::new()) };
    let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else {
        return Ok(String::new());
    };
    must((major, minor) >= API_MIN && major == 1, "version", "the API is 1.41 or newer")?;
    segments.remove(0);
    Ok(format!("/v{major}.{minor}"))
}

fn call(method: &Method, segments: &[&str], query: &mut Query) -> Result<Call, Refusal> {
    let (get, post) = (method == Method::GET, method == Method::POST);
    let unknown =
        || Refusal::new("call", format!("{method} /{} is no call of a worker", segments.join("/")));
    Ok(match segments {
        ["_ping"] if get => Call::About("/_ping"),
        ["version"] if get => Call::About("/version"),
        ["info"] if get => Call::About("/info"),
        ["containers", "create"] if post => Call::Create { name: query.name("name")? },
        ["containers", "json"] if get => {
            Call::List { all: query.flag("all")?, labels: query.labels()? }
        }
        ["containers", id, "json"] if get => Call::Inspect { id: name(id)? },
        ["containers", id, "start"] if post => Call::Start { id: name(id)? },
        ["containers", id, "attach"] if post => attach(id, query)?,
        ["containers", id, "wait"] if post => wait(id, query)?,
        ["containers", id, "update"] if post => Call::Update { id: name(id)? },
        ["containers", id, "archive"] if method == Method::PUT => {
            must(query.take("path").as_deref() == Some("/"), "archive", "a layer begins at /")?;
            Call::Upload { id: name(id)? }
        }
        ["containers", id] if method == Method::DELETE => {
            query.flag("v")?;
            Call::Remove { id: name(id)?, force: query.flag("force")? }
        }
        ["commit"] if post => commit(query)?,
        ["images", "json"] if get => Call::ListImages { labels: query.labels()? },
        ["images", image @ .., "json"] if get && !image.is_empty() => {
            Call::InspectImage { name: image.join("/") }
        }
        ["images", image @ ..] if method == Method::DELETE && !image.is_empty() => {
            Call::RemoveImage { name: image.join("/") }
        }
        _ => return Err(unknown()),
    })
}

fn attach(id: &str, query: &mut Query) -> Result<Call, Refusal> {
    must(query.flag("stream")?, "attach", "an attach follows the streams")?;
    let (stdin, stdout) = (query.flag("stdin")?, query.flag("stdout")?);
    let streams = Streams { stdin, stdout, stderr: query.flag("stderr")? };
    Ok(Call::Attach { id: name(id)?, streams })
}

fn wait(id: &str, query: &mut Query) -> Result<Call, Refusal> {
    let condition = match query.take("condition").as_deref() {
        None | Some("not-running") => "not-running",
        Some("removed") => "removed",
        Some(_) => return Err(Refusal::new("wait", "wait for `removed` or `not-running`")),
    };
    Ok(Call::Wait { id: name(id)?, condition })
}

fn commit(query: &mut Query) -> Result<Call, Refusal> {
    let id = query.name("container")?;
    let repository = query.take("repo").unwrap_or_default();
    // Of a container that does not run it means nothing.
    query.flag("pause")?;
    Ok(Call::Commit { id, repository, tag: query.name("tag")? })
}

/// A name or id of a container, or a tag.
fn name(text: &str) -> Result<String, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let good = text.len() <= NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain);
    must(good, "name", "a name has letters, digits, `_`, `.` and `-`")?;
    Ok(text.to_owned())
}

/// The parameters that nobody has asked for yet.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: &str) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let twice = pairs.iter().any(|(known, _)| *known == key);
            must(!twice, "query", "a parameter is given twice")?;
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let found = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(found).1)
    }

    fn name(&mut self, key: &str) -> Result<String, Refusal> {
        name(&self.take(key).unwrap_or_default())
    }

    fn flag(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.take(key).as_deref() {
            None | Some("" | "0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(Refusal::new("query", format!("{key} is true or false"))),
        }
    }

    /// The labels of a filter; other filters are refused.
    fn labels(&mut self) -> Result<Vec<String>, Refusal> {
        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Filters {
            label: Vec<String>,
        }
        let Some(text) = self.take("filters") else { return Ok(Vec::new()) };
        let filters: Filters = serde_json::from_str(&text).map_err(|error| {
            Refusal::new("filters", format!("only labels are filters: {error}"))
        })?;
        Ok(filters.label)
    }

    /// What is left has to mean nothing; clients send all that they know.
    fn end(self) -> Result<(), Refusal> {
        let left =
            self.0.into_iter().find(|(_, value)| !matches!(value.as_str(), "" | "0" | "false"));
        match left {
            None => Ok(()),
            Some((key, _)) => Err(Refusal::new("query", format!("no worker asks for {key:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(method: Method, path: &str, query: &str) -> &'static str {
        read(&method, path, query).err().map_or("allowed", |refusal| refusal.rule)
    }

    #[test]
    fn calls_of_a_worker_are_known() {
        let get = |path, query| read(&Method::GET, path, query).unwrap();
        assert_eq!(get("/v1.41/version", "").version, "/v1.41");
        assert_eq!(get("/version", "").call, Call::About("/version"));
        let list =
            get("/containers/json", "all=true&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D");
        assert_eq!(list.call, Call::List { all: true, labels: vec!["a=b".into()] });
        let image = get("/images/flowcell/runner:lfx-1.13/json", "manifests=false");
        assert_eq!(image.call, Call::InspectImage { name: "flowcell/runner:lfx-1.13".into() });
        let create =
            read(&Method::POST, "/containers/create", "name=flowcell-1&platform=").unwrap();
        assert_eq!(create.call, Call::Create { name: "flowcell-1".into() });
    }

    #[test]
    fn other_calls_are_refused() {
        let calls = [
            (Method::POST, "/containers/a/exec"),
            (Method::POST, "/exec/a/start"),
            (Method::GET, "/containers/a/export"),
            (Method::GET, "/containers/a/archive"),
            (Method::HEAD, "/containers/a/archive"),
            (Method::GET, "/containers/a/logs"),
            (Method::POST, "/containers/a/copy"),
            (Method::POST, "/containers/a/rename"),
            (Method::POST, "/containers/prune"),
            (Method::POST, "/build"),
            (Method::POST, "/images/create"),
            (Method::POST, "/images/load"),
            (Method::POST, "/images/a/push"),
            (Method::POST, "/images/a/tag"),
            (Method::GET, "/images/a/get"),
            (Method::GET, "/volumes"),
            (Method::POST, "/volumes/create"),
            (Method::GET, "/networks"),
            (Method::POST, "/networks/create"),
            (Method::POST, "/plugins/pull"),
            (Method::GET, "/plugins"),
            (Method::POST, "/swarm/init"),
            (Method::POST, "/services/create"),
            (Method::GET, "/secrets"),
            (Method::POST, "/session"),
            (Method::GET, "/events"),
            (Method::POST, "/auth"),
            (Method::GET, "/distribution/a/json"),
            (Method::GET, "/system/df"),
        ];
        for (method, path) in calls {
            for version in ["", "/v1.41"] {
                let found = rule(method.clone(), &format!("{version}{path}"), "");
                assert_eq!(found, "call", "{method} {version}{path}");
            }
        }
    }

    #[test]
    fn paths_that_others_could_read_otherwise_are_refused() {
        for path in [
            "/containers/../exec/a/start",
            "/containers/a%2f..%2fb/json",
            "//containers/json",
            "/containers//json",
            "/containers/a/json/",
            "/./version",
            "*",
            "/containers/a/json;x",
        ] {
            assert_eq!(rule(Method::GET, path, ""), "path", "{path}");
        }
        assert_eq!(rule(Method::GET, "/v1.24/version", ""), "version");
        assert_eq!(rule(Method::GET, "/v2.0/version", ""), "version");
    }

    #[test]
    fn parameters_are_known_and_come_once() {
        let attach = "/containers/a/attach";
        assert_eq!(rule(Method::POST, attach, "stream=true&stdin=true&detachKeys="), "allowed");
        assert_eq!(rule(Method::POST, attach, "stream=1&logs=1"), "query");
        assert_eq!(rule(Method::POST, attach, "stream=1&stream=0"), "query");
        assert_eq!(rule(Method::POST, "/containers/create", "name=a/b"), "name");
        assert_eq!(rule(Method::POST, "/containers/create", "name=a&platform=linux"), "query");
        assert_eq!(rule(Method::POST, "/containers/a/start", "checkpoint=c"), "query");
        assert_eq!(rule(Method::DELETE, "/containers/a", "force=true&v=true&link=true"), "query");
        assert_eq!(rule(Method::PUT, "/containers/a/archive", "path=/etc"), "archive");
        let filters = "filters=%7B%22label%22%3A%5B%5D%2C%22name%22%3A%5B%5D%7D";
        assert_eq!(rule(Method::GET, "/containers/json", filters), "filters");
        let twice = "filters=%7B%22label%22%3A%5B%5D%2C%22label%22%3A%5B%5D%7D";
        assert_eq!(rule(Method::GET, "/containers/json", twice), "filters");
        assert_eq!(
            rule(Method::POST, "/commit", "container=a&repo=b&tag=c&changes=CMD+x"),
            "query"
        );
    }
}
