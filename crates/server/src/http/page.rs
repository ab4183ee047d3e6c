//! The status page: one self-contained HTML document that renews itself.
//!
//! Promises: no script, nothing fetched from elsewhere; every text is escaped.

use std::fmt::Write;
use std::time::Duration;

use quorate_replica::{Readiness, Status, chain};
use quorate_types::{Index, NodeId};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:56rem;padding:0 1rem;\
color:#1b1f24;background:#fff}h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .4rem}\
table{border-collapse:collapse;width:100%}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;\
border-bottom:1px solid #d8dee4}th{font-weight:600}.key{color:#57606a;width:16rem}.bad{color:#b42318}\
.good{color:#1a7f37}code{font:13px ui-monospace,monospace}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}\
.key{color:#8b949e}.bad{color:#ff7b72}.good{color:#3fb950}}";

/// Seconds between two looks.
const REFRESH_S: u32 = 2;

/// See the module.
pub(super) fn status(status: &Status, readiness: &Readiness) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    page.raw(&format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\"><title>"
    ));
    page.text(&format!("{} ({}) - Quorate", status.name, status.role.name()));
    page.raw(&format!("</title><style>{STYLE}</style></head><body><h1>"));
    page.text(&format!("{} is {}", status.name, article(status.role.name())));
    page.raw("</h1>");
    match readiness {
        Readiness::Ready => page.paragraph("good", "Ready."),
        Readiness::NotReady { why } => page.paragraph("bad", &format!("Not ready: {why}.")),
    }
    if let Some(fault) = &status.fault {
        page.paragraph("bad", &format!("Stopped by a fault: {}.", chain(&**fault)));
    }
    for warning in &status.warnings {
        page.paragraph("bad", &format!("Warning: {warning}."));
    }
    group(&mut page, status);
    members(&mut page, status);
    log(&mut page, status);
    rest(&mut page, status);
    page.raw("</body></html>\n");
    page.0
}

fn article(role: &str) -> String {
    match role {
        "leader" => "the leader".to_owned(),
        "forming" | "stopped" => role.to_owned(),
        other => format!("a {other}"),
    }
}

fn group(page: &mut Page, status: &Status) {
    page.heading("Group");
    page.table(|page| {
        page.row(
            "Cluster",
            &status
                .cluster
                .map_or("none yet".to_owned(), |cluster| cluster.to_string()),
        );
        page.row(
            "Node",
            &status.node.map_or("none yet".to_owned(), |node| node.to_string()),
        );
        let leader = status.leadership.leader.as_ref();
        let leader =
            leader.map(|leader| format!("{}, at {}", named(status, leader.node), leader.client_address));
        page.row(
            "Leader",
            &leader.unwrap_or_else(|| "nobody is known to lead".to_owned()),
        );
        page.row("Term", &status.leadership.term.to_string());
        if let Some(change) = &status.last_change {
            let text = format!(
                "to {} in term {}, by {}, took {}, at {} ms since 1970",
                named(status, change.node),
                change.term,
                change.reason.name(),
                time(change.took),
                change.at_unix_ms
            );
            page.row("Last change of leader", &text);
        }
    });
}

fn named(status: &Status, node: NodeId) -> String {
    let member = status.members.iter().find(|(member, _)| member.node == node);
    member.map_or(format!("node {node}"), |(member, _)| {
        format!("{} (node {node})", member.name)
    })
}

fn members(page: &mut Page, status: &Status) {
    if status.members.is_empty() {
        return;
    }
    page.heading("Members");
    page.table(|page| {
        page.header(&[
            "Name",
            "Node",
            "Clients",
            "Vote",
            "Link",
            "Round trip",
            "Has the log up to",
        ]);
        for (member, voter) in &status.members {
            let peer = status.peers.iter().find(|peer| peer.node == member.node);
            let link = peer.map_or("itself", |peer| if peer.linked { "up" } else { "down" });
            let round_trip = peer
                .and_then(|peer| peer.round_trip)
                .map(time)
                .unwrap_or_default();
            let matched = peer
                .and_then(|peer| peer.matched)
                .map(|index| index.to_string())
                .unwrap_or_default();
            page.cells(&[
                member.name.as_str(),
                &member.node.to_string(),
                &member.client_address,
                if *voter { "yes" } else { "no" },
                link,
                &round_trip,
                &matched,
            ]);
        }
    });
}

fn log(page: &mut Page, status: &Status) {
    let index = |index: Option<Index>| index.map_or("none".to_owned(), |index| index.to_string());
    page.heading("Log");
    page.table(|page| {
        page.row("Last entry", &index(status.last_log));
        page.row("Committed", &index(status.committed));
        page.row("Applied", &index(status.applied));
        page.row("Snapshot", &index(status.snapshot));
        page.row("Purged", &index(status.purged));
        page.row(
            "Flush",
            &format!(
                "{} median, {} 99th percentile",
                time(status.flush_p50),
                time(status.flush_p99)
            ),
        );
    });
}

fn rest(page: &mut Page, status: &Status) {
    page.heading("State");
    page.table(|page| {
        page.row("Revision", &status.revision.to_string());
        page.row("Digest", &format!("{:032x}", status.digest));
        page.row("Feature level", &status.feature_level.to_string());
        page.row("Collections", &status.collections.to_string());
        page.row("Partitions", &status.partitions.to_string());
        page.row("Sessions", &status.sessions.to_string());
        page.row("Watchers here", &status.watchers.to_string());
    });
    page.heading("Replica");
    page.table(|page| {
        page.row("Version", &status.version);
        page.row("Up for", &time(status.uptime));
        page.row("Boots", &status.boot_count.to_string());
        let timing = format!(
            "{}: heartbeat {}, election timeout {}",
            status.profile,
            time(status.timing.heartbeat),
            time(status.timing.election_min)
        );
        page.row("Profile", &timing);
    });
    page.raw("<p><a href=\"/status.json\">status.json</a> <a href=\"/metrics\">metrics</a></p>");
}

/// A duration as people read it.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{:.2} ms", duration.as_secs_f64() * 1e3),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn text(&mut self, text: &str) {
        for char in text.chars() {
            match char {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                '\'' => self.raw("&#39;"),
                other => self.0.push(other),
            }
        }
    }

    fn element(&mut self, open: &str, text: &str, close: &str) {
        self.raw(open);
        self.text(text);
        self.raw(close);
    }

    fn heading(&mut self, text: &str) {
        self.element("<h2>", text, "</h2>");
    }

    fn paragraph(&mut self, class: &str, text: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "<p class=\"{class}\">");
        self.element("", text, "</p>");
    }

    fn table(&mut self, rows: impl FnOnce(&mut Self)) {
        self.raw("<table>");
        rows(self);
        self.raw("</table>");
    }

    fn row(&mut self, key: &str, value: &str) {
        self.element("<tr><td class=\"key\">", key, "</td>");
        self.element("<td><code>", value, "</code></td></tr>");
    }

    fn header(&mut self, titles: &[&str]) {
        self.raw("<tr>");
        for title in titles {
            self.element("<th>", title, "</th>");
        }
        self.raw("</tr>");
    }

    fn cells(&mut self, cells: &[&str]) {
        self.raw("<tr>");
        for cell in cells {
            self.element("<td><code>", cell, "</code></td>");
        }
        self.raw("</tr>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut page = Page(String::new());
        page.row("<b>", "a & \"b\" 'c'");
        assert_eq!(
            page.0,
            "<tr><td class=\"key\">&lt;b&gt;</td><td><code>a &amp; &quot;b&quot; &#39;c&#39;</code></td></tr>"
        );
    }

    #[test]
    fn durations_are_for_people() {
        let cases = [
            (Duration::ZERO, "0.00 ms"),
            (Duration::from_micros(1_234), "1.23 ms"),
            (Duration::from_millis(1_500), "1.5 s"),
            (Duration::from_secs(61), "1 min 1 s"),
            (Duration::from_secs(7_260), "2 h 1 min"),
        ];
        for (duration, want) in cases {
            assert_eq!(time(duration), want);
        }
    }
}
