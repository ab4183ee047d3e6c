//! The list of replicas as people write it: `NAME=HOST` or `NAME=HOST:CLIENTS/PEERS/LIVENESS`.

use quorate::{Listed, MemberName};

/// The ports that etcd's clients and operators expect, and ours for liveness.
const PORTS: &str = "2379/2380/2382";
/// More replicas never form a group; which sizes do is checked with the list as a whole.
const GROUP_SIZE_MAX: u32 = 9;
/// Characters of an entry that an error repeats at most.
const SHOWN: usize = 80;

/// Parses a list separated by commas. Spaces around entries are ignored.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Listed>, String> {
    text.split(',').map(|entry| parse(entry.trim())).collect()
}

/// The replicas of a StatefulSet, as its `member` sees them: the first `size` ones, and itself when its number is higher.
/// Then it is not one of those that form the group: it joins.
pub(crate) fn of_stateful_set(member: &str, domain: &str, size: u32) -> Result<(Vec<Listed>, bool), String> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|number| number.to_string() == text)
    };
    let named = member
        .rsplit_once('-')
        .and_then(|(set, ordinal)| Some((set, number(ordinal)?)));
    let Some((set, own)) = named else {
        let shown: String = member.chars().take(SHOWN).collect();
        return Err(format!(
            "peers_dns: the name {shown:?} is not that of a pod of a StatefulSet, such as quorate-0; give --name"
        ));
    };
    if size > GROUP_SIZE_MAX {
        return Err(format!("group_size: {size} is out of range; give 1, 3 or 5"));
    }
    let domain = domain.trim_matches('.');
    let ordinals = (0..size).chain((own >= size).then_some(own));
    let listed = ordinals.map(|ordinal| parse(&format!("{set}-{ordinal}={set}-{ordinal}.{domain}")));
    Ok((listed.collect::<Result<_, _>>()?, own >= size))
}

/// Parses one entry.
pub(crate) fn parse(entry: &str) -> Result<Listed, String> {
    let shown: String = entry
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    let wrong = |why: &str| format!("the replica {shown:?} in the list: {why}");
    let form = "write NAME=HOST or NAME=HOST:CLIENTS/PEERS/LIVENESS";
    let (name, place) = entry
        .split_once('=')
        .ok_or_else(|| wrong(&format!("it has no '='; {form}")))?;
    let name = MemberName::new(name).map_err(|error| wrong(&error.to_string()))?;
    let (host, ports) = split(place).ok_or_else(|| wrong("an IPv6 address needs brackets, as in [::1]"))?;
    if host.is_empty() {
        return Err(wrong(&format!("it has no host; {form}")));
    }
    let mut numbers = ports
        .split('/')
        .map(|port| port.parse::<u16>().ok().filter(|&port| port > 0));
    let three = (
        numbers.next().flatten(),
        numbers.next().flatten(),
        numbers.next().flatten(),
        numbers.next(),
    );
    let (Some(clients), Some(peers), Some(liveness), None) = three else {
        return Err(wrong(
            "after the host stand three ports of 1 to 65535, as in :2379/2380/2382",
        ));
    };
    let address = |port: u16| format!("{host}:{port}");
    Ok(Listed {
        name,
        client_address: address(clients),
        peer_address: address(peers),
        liveness_address: address(liveness),
    })
}

/// Host and ports; the host keeps its brackets. None for a bare IPv6 address.
fn split(place: &str) -> Option<(&str, &str)> {
    if let Some(end) = place.starts_with('[').then(|| place.find(']')).flatten() {
        let (host, rest) = place.split_at(end + 1);
        return if rest.is_empty() {
            Some((host, PORTS))
        } else {
            Some((host, rest.strip_prefix(':')?))
        };
    }
    match place.split_once(':') {
        None => Some((place, PORTS)),
        Some((_, ports)) if ports.contains(':') => None,
        Some(both) => Some(both),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_entries() {
        let cases = [
            ("a=host", "host:2379 host:2380 host:2382"),
            ("a=10.0.0.1:1/2/3", "10.0.0.1:1 10.0.0.1:2 10.0.0.1:3"),
            ("a=[::1]", "[::1]:2379 [::1]:2380 [::1]:2382"),
            ("a=[::1]:7/8/9", "[::1]:7 [::1]:8 [::1]:9"),
            (
                "quorate-0=quorate-0.quorate.ns.svc",
                "quorate-0.quorate.ns.svc:2379 quorate-0.quorate.ns.svc:2380 quorate-0.quorate.ns.svc:2382",
            ),
        ];
        for (entry, want) in cases {
            let listed = parse(entry).expect(entry);
            assert_eq!(
                [
                    listed.client_address,
                    listed.peer_address,
                    listed.liveness_address
                ]
                .join(" "),
                want
            );
        }
        let list = parse_list("a=x, b=y ,c=z").expect("a list");
        assert_eq!(
            list.iter().map(|listed| listed.name.as_str()).collect::<String>(),
            "abc"
        );
    }

    #[test]
    fn the_replicas_of_a_stateful_set() {
        let seen = |member, domain, size| {
            let (listed, joins) = of_stateful_set(member, domain, size)?;
            let entries: Vec<String> = listed
                .iter()
                .map(|listed| format!("{}={}", listed.name, listed.peer_address))
                .collect();
            Ok::<_, String>(format!(
                "{}{}",
                entries.join(" "),
                if joins { " joins" } else { "" }
            ))
        };
        let three = "q-0=q-0.d.svc:2380 q-1=q-1.d.svc:2380 q-2=q-2.d.svc:2380";
        assert_eq!(seen("q-1", "d.svc", 3).as_deref(), Ok(three));
        assert_eq!(seen("q-0", ".d.svc.", 3).as_deref(), Ok(three));
        let fourth = format!("{three} q-3=q-3.d.svc:2380 joins");
        assert_eq!(seen("q-3", "d.svc", 3), Ok(fourth));
        assert_eq!(seen("my-q-0", "d", 1).as_deref(), Ok("my-q-0=my-q-0.d:2380"));
        let long = "x".repeat(100_000);
        let cases = [
            ("quorate", "d", 3, "is not that of a pod"),
            ("quorate-", "d", 3, "is not that of a pod"),
            ("quorate-01", "d", 3, "is not that of a pod"),
            ("quorate-x", "d", 3, "is not that of a pod"),
            ("quorate--1", "d", 3, "name"),
            (&long, "d", 3, "is not that of a pod"),
            ("-0", "d", 3, "name"),
            ("q-0", "d d:x", 3, "three ports"),
            (
                "q-0",
                "d",
                4_000_000_000,
                "group_size: 4000000000 is out of range",
            ),
        ];
        for (member, domain, size, want) in cases {
            match seen(member, domain, size) {
                Err(why) => assert!(why.contains(want) && why.len() < 300, "{want}: {why}"),
                Ok(listed) => assert_eq!(member, "quorate--1", "{listed}"),
            }
        }
    }

    #[test]
    fn bad_entries_are_told_in_one_short_line() {
        let huge = format!("a={}:1", "x".repeat(1_000_000));
        let cases = [
            ("nothing", "", "has no '='"),
            ("no name", "=host", "name is empty"),
            ("a bad name", "a b=host", "has ' '"),
            ("no host", "a=", "has no host"),
            ("no host but ports", "a=:1/2/3", "has no host"),
            ("one port", "a=host:2379", "three ports"),
            ("four ports", "a=host:1/2/3/4", "three ports"),
            ("port zero", "a=host:0/1/2", "three ports"),
            ("a port too large", "a=host:1/2/65536", "three ports"),
            ("bare IPv6", "a=::1", "needs brackets"),
            ("half a bracket", "a=[::1", "needs brackets"),
            ("control characters", "a\u{1b}[2J", "has no '='"),
            ("a comma too many", "a=x,,b=y", "has no '='"),
            ("huge", &huge, "three ports"),
        ];
        for (name, text, want) in cases {
            let why = parse_list(text).expect_err(name);
            assert!(why.contains(want) && why.len() < 300, "{name}: {why}");
            assert!(!why.chars().any(char::is_control), "{name}");
        }
    }
}
