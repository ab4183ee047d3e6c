//! Namespaces that a killed test has left behind.
//!
//! Promises: only names of this kit are touched, and only when the process that made them is gone.

use super::command::{ip, output};

/// Begins the name of every namespace of this kit; the maker's process id follows.
pub(super) const PREFIX: &str = "quorate-";

/// Removes what is stale. What cannot be removed stays for the next time.
pub(super) fn stale() {
    let Ok(listed) = output("ip", &["netns", "list"]) else {
        return;
    };
    let is_alive = |pid: u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
    for name in stale_names(&listed, is_alive) {
        let _ = ip(&["netns", "del", &name]);
    }
}

/// The names in a listing of `ip netns list` whose maker is gone. Pure.
fn stale_names(listed: &str, is_alive: impl Fn(u32) -> bool) -> Vec<String> {
    let maker = |name: &str| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| maker(name).is_some_and(|pid| !is_alive(pid)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_of_ours_made_is_stale() {
        let listed = "quorate-7-0-hub\nquorate-7-0-1 (id: 3)\nquorate-8-0-hub\nquorate-x-0\nother-7-0\n\n7\n";
        assert_eq!(
            stale_names(listed, |pid| pid == 8),
            ["quorate-7-0-hub", "quorate-7-0-1"]
        );
    }
}
