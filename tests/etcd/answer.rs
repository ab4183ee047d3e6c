//! Answers as lines of (what, value), what is masked in them, and how two of them differ.
//!
//! Promises: what is masked keeps whether it was there, so that a missing id or a missing size is still a difference; nothing
//! else is forgiven.

use std::collections::BTreeMap;

use serde_json::Value;

/// Fields that say who answered and in which term: they differ between any two members.
const WHO: &[&str] = &[
    "cluster_id",
    "member_id",
    "raft_term",
    // As etcdctl prints them with `-w fields`.
    "ClusterID",
    "MemberID",
    "RaftTerm",
];
/// Fields that two systems cannot have in common: sizes, positions, names, builds.
const OWN: &[&str] = &[
    "raftIndex",
    "raftTerm",
    "raftAppliedIndex",
    "dbSize",
    "dbSizeInUse",
    "dbSizeQuota",
    "leader",
    "storageVersion",
    "hash",
    "memberID",
    "took",
    "remaining_bytes",
    "token",
    "blob",
];
/// What else members have of their own.
const OF_MEMBER: &[&str] = &["ID", "id", "name", "peerURLs", "clientURLs"];
/// Repeated fields with one entry for each member: as many as the cluster has, alike when masked.
const PER_MEMBER: &[&str] = &["members[", "peerURLs[", "clientURLs["];
/// Seconds that may have passed of a lease since it was granted or renewed.
const ELAPSED_S_MAX: i64 = 30;
/// Longest value that is printed whole.
const PRINTED_MAX: usize = 300;

/// One fact of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    path: String,
    value: String,
}

impl Line {
    pub(crate) fn new(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            value: value.into(),
        }
    }

    /// The same of a part of something.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        self.path.insert_str(0, prefix);
        self
    }

    /// The last name of the path, without an index.
    fn field(&self) -> &str {
        let name = self.path.rsplit('.').next().unwrap_or_default();
        name.split('[').next().unwrap_or_default()
    }

    fn print(&self, sign: char) -> String {
        let Self { path, value } = self;
        let mut end = value.len().min(PRINTED_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        match &value[end..] {
            "" => format!("{sign} {path} = {value}"),
            rest => format!("{sign} {path} = {}... and {} more", &value[..end], rest.len()),
        }
    }
}

/// What one call was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer(Vec<Line>);

impl Answer {
    /// Whether it says this of that.
    pub(crate) fn says(&self, path: &str, value: &str) -> bool {
        self.0.iter().any(|line| line.path == path && line.value == value)
    }

    pub(crate) fn new(lines: Vec<Line>) -> Self {
        Self(lines)
    }

    pub(crate) fn push(&mut self, line: Line) {
        self.0.push(line);
    }

    pub(crate) fn extend(&mut self, lines: Vec<Line>) {
        self.0.extend(lines);
    }

    /// Puts a name in the place of a text that only one of the two can have.
    pub(crate) fn replace(&mut self, text: &str, name: &str) {
        for line in &mut self.0 {
            if line.value.contains(text) {
                line.value = line.value.replace(text, name);
            }
        }
    }

    /// All of it, as it is printed.
    pub(crate) fn print(&self) -> Vec<String> {
        self.0.iter().map(|line| line.print(' ')).collect()
    }

    /// The value of a line.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        let line = self.0.iter().find(|line| line.path == path)?;
        Some(&line.value)
    }

    /// Puts the names of numbers that a server chose in the place of these.
    pub(crate) fn name(&mut self, names: &BTreeMap<String, i64>) {
        for (name, number) in names {
            for form in [number.to_string(), format!("{number:x}")] {
                self.replace(&form, &format!("${name}"));
            }
        }
    }

    /// Masks who answered.
    pub(crate) fn masked_who(mut self) -> Self {
        for line in &mut self.0 {
            if WHO.contains(&line.field()) {
                "*".clone_into(&mut line.value);
            }
        }
        self
    }

    /// Masks all that two systems cannot have in common.
    pub(crate) fn masked(self) -> Self {
        let Self(mut lines) = self.masked_who();
        for line in &mut lines {
            let field = line.field();
            let of_member = line.path.contains("member") && OF_MEMBER.contains(&field);
            // Keys have a version, too, and that counts.
            let of_build = field == "version" && !line.path.contains("kv");
            if of_member || of_build || OWN.contains(&field) {
                "*".clone_into(&mut line.value);
            }
        }
        time_left(&mut lines);
        sorted_keys_of_leases(&mut lines);
        Self(PER_MEMBER.iter().fold(lines, |lines, list| folded(lines, list)))
    }
}

/// The time that a lease has left is "fresh" when it may just have been granted.
fn time_left(lines: &mut [Line]) {
    let granted = lines
        .iter()
        .find(|line| matches!(line.field(), "grantedTTL" | "granted-ttl"));
    let Some(granted) = granted.and_then(|line| line.value.parse::<i64>().ok()) else {
        return;
    };
    let left = lines
        .iter_mut()
        .find(|line| matches!(line.field(), "TTL" | "ttl"));
    if let Some(left) = left
        && let Ok(seconds) = left.value.parse::<i64>()
        && (1..=granted).contains(&seconds)
        && granted - seconds <= ELAPSED_S_MAX
    {
        "fresh".clone_into(&mut left.value);
    }
}

/// etcd tells the keys of a lease in no order.
fn sorted_keys_of_leases(lines: &mut [Line]) {
    let mut keys: Vec<&mut Line> = lines
        .iter_mut()
        .filter(|line| line.path.starts_with("keys[") || line.path.starts_with("stdout.keys["))
        .collect();
    let mut values: Vec<String> = keys.iter().map(|line| line.value.clone()).collect();
    values.sort();
    for (line, value) in keys.iter_mut().zip(values) {
        line.value = value;
    }
}

/// Leaves out entries of a list that are as the one before them, so that clusters of any size look alike.
fn folded(lines: Vec<Line>, list: &str) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    // The entry before and the one at hand: where it begins, and its lines without that.
    let mut last: Option<(String, Vec<(String, String)>)> = None;
    let mut rest = lines.into_iter().peekable();
    while let Some(line) = rest.next() {
        let Some(entry) = entry_of(&line.path, list) else {
            last = None;
            kept.push(line);
            continue;
        };
        let mut whole = vec![line];
        while let Some(next) = rest.next_if(|next| entry_of(&next.path, list) == Some(entry.clone())) {
            whole.push(next);
        }
        let content: Vec<_> = whole
            .iter()
            .map(|line| (line.path[entry.len()..].to_owned(), line.value.clone()))
            .collect();
        let open = entry.rfind('[').unwrap_or_default();
        let before = entry[..open].to_owned();
        if last.as_ref() != Some(&(before.clone(), content.clone())) {
            kept.extend(whole);
        }
        last = Some((before, content));
    }
    kept
}

/// `a.members[3]` of `a.members[3].name`.
fn entry_of(path: &str, list: &str) -> Option<String> {
    let at = path.find(list)?;
    let close = path[at..].find(']')?;
    Some(path[..=at + close].to_owned())
}

/// JSON as lines, like messages.
pub(crate) fn json(path: &str, value: &Value, lines: &mut Vec<Line>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                json(&format!("{path}.{name}"), value, lines);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for (index, value) in values.iter().enumerate() {
                json(&format!("{path}[{index}]"), value, lines);
            }
        }
        Value::String(text) => lines.push(Line::new(path, text.clone())),
        other => lines.push(Line::new(path, other.to_string())),
    }
}

/// How `quorate` differs from `etcd`, as lines that begin with a sign: `-` is etcd's, `+` Quorate's, a blank is common.
/// Nothing when they do not differ.
pub(crate) fn difference(etcd: &Answer, quorate: &Answer) -> Option<Vec<String>> {
    if etcd == quorate {
        return None;
    }
    let mut printed = Vec::new();
    let mut right = quorate.0.as_slice();
    for line in &etcd.0 {
        let Some(at) = right.iter().position(|other| other.path == line.path) else {
            printed.push(line.print('-'));
            continue;
        };
        printed.extend(right[..at].iter().map(|other| other.print('+')));
        if right[at] == *line {
            printed.push(line.print(' '));
        } else {
            printed.extend([line.print('-'), right[at].print('+')]);
        }
        right = &right[at + 1..];
    }
    printed.extend(right.iter().map(|other| other.print('+')));
    Some(printed)
}
