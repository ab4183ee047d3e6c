//! Watches: what is asked for, and changes as events.

use std::collections::BTreeSet;

use quorate_api::v1;
use quorate_replica::machine::{ChangeSet, Image, Resource, ResourceKind};
use quorate_types::Revision;

use super::{Malformed, catalog, count, session};

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With what exists.
    State,
    /// With what changes from now on.
    Now,
    /// With the changes of this revision.
    From(Revision),
}

/// What a watch wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) beginning: Beginning,
    /// Never empty.
    pub(crate) kinds: BTreeSet<ResourceKind>,
}

/// Checks a request.
pub(crate) fn wanted(request: &v1::WatchRequest) -> Result<Wanted, Malformed> {
    let beginning = match (request.with_state, request.from_revision) {
        (true, 0) => Beginning::State,
        (true, _) => {
            return Err(Malformed::new(
                "with_state",
                "does not go together with from_revision; choose one",
            ));
        }
        (false, 0) => Beginning::Now,
        (false, from) => Beginning::From(Revision(from)),
    };
    count("kinds", request.kinds.len(), ResourceKind::ALL.len())?;
    let mut kinds = BTreeSet::new();
    for (index, number) in request.kinds.iter().enumerate() {
        let field = format!("kinds[{index}]");
        let known = v1::ResourceKind::try_from(*number).map_err(|_| Malformed::unknown(&field, *number))?;
        let kind = ResourceKind::ALL
            .into_iter()
            .find(|kind| kind_to_proto(*kind) == known);
        kinds.insert(kind.ok_or_else(|| Malformed::missing(field))?);
    }
    if kinds.is_empty() {
        kinds.extend(ResourceKind::ALL);
    }
    Ok(Wanted { beginning, kinds })
}

/// The events of a change set that are wanted.
pub(crate) fn events<'a>(
    set: &'a ChangeSet,
    wanted: &'a Wanted,
) -> impl Iterator<Item = v1::Event> + use<'a> {
    set.changes.iter().filter_map(|change| {
        let kind = change.kind().filter(|kind| wanted.kinds.contains(kind))?;
        Some(v1::Event {
            kind: kind_to_proto(kind).into(),
            revision: set.revision.0,
            after: change.resource_after().map(resource),
            before: change.resource_before().map(resource),
        })
    })
}

/// An object that exists in `image`, as an event.
pub(crate) fn existing(existing: Resource, image: &Image) -> v1::Event {
    v1::Event {
        kind: kind_to_proto(existing.kind()).into(),
        revision: image.revision().0,
        after: Some(resource(existing)),
        before: None,
    }
}

fn resource(resource: Resource) -> v1::Resource {
    use v1::resource::Kind;
    let kind = match resource {
        Resource::Database(database) => Kind::Database(catalog::database(database)),
        Resource::Collection(collection) => Kind::Collection(catalog::collection(collection)),
        Resource::Partition(partition) => Kind::Partition(catalog::partition(partition)),
        Resource::Alias(alias) => Kind::Alias(catalog::alias(alias)),
        Resource::Session(session) => Kind::Session(session::to_proto(session)),
    };
    v1::Resource { kind: Some(kind) }
}

fn kind_to_proto(kind: ResourceKind) -> v1::ResourceKind {
    match kind {
        ResourceKind::Database => v1::ResourceKind::Database,
        ResourceKind::Collection => v1::ResourceKind::Collection,
        ResourceKind::Partition => v1::ResourceKind::Partition,
        ResourceKind::Alias => v1::ResourceKind::Alias,
        ResourceKind::Session => v1::ResourceKind::Session,
    }
}

#[cfg(test)]
mod tests {
    use quorate_replica::machine::{Command, CreateDatabase, DropDatabase, Machine};
    use quorate_types::Index;

    use super::*;

    #[test]
    fn beginnings_and_kinds() {
        let request = |from_revision, with_state, kinds: &[i32]| v1::WatchRequest {
            from_revision,
            with_state,
            kinds: kinds.to_vec(),
        };
        let all = ResourceKind::ALL.to_vec();
        let cases: Vec<(v1::WatchRequest, Result<(Beginning, Vec<ResourceKind>), &str>)> = vec![
            (request(0, false, &[]), Ok((Beginning::Now, all.clone()))),
            (
                request(7, false, &[]),
                Ok((Beginning::From(Revision(7)), all.clone())),
            ),
            (request(0, true, &[]), Ok((Beginning::State, all))),
            (
                request(0, true, &[5, 2, 2]),
                Ok((
                    Beginning::State,
                    vec![ResourceKind::Collection, ResourceKind::Session],
                )),
            ),
            (request(7, true, &[]), Err("with_state")),
            (request(0, false, &[1, 0]), Err("kinds[1]")),
            (request(0, false, &[1, 2, 6]), Err("kinds[2]")),
            (request(0, false, &[-1]), Err("kinds[0]")),
            (request(0, false, &[1; 6]), Err("kinds")),
        ];
        for (request, want) in cases {
            let got = wanted(&request).map(|wanted| (wanted.beginning, wanted.kinds.into_iter().collect()));
            assert_eq!(
                got.map_err(|m| m.field),
                want.map_err(str::to_owned),
                "{request:?}"
            );
        }
    }

    #[test]
    fn changes_become_events_with_both_sides_and_rows_without_a_kind_do_not() {
        let mut machine = Machine::genesis();
        let name = "books".to_owned();
        let commands = [
            Command::CreateDatabase(CreateDatabase {
                name: name.clone(),
                ..Default::default()
            }),
            Command::DropDatabase(DropDatabase { name }),
        ];
        let mut sides = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let applied = machine
                .apply(Index(index as u64), &command.encode(1, None))
                .expect("applied");
            let set = applied.change_set.expect("a change");
            let all = wanted(&v1::WatchRequest::default()).expect("well-formed");
            let shown: Vec<v1::Event> = events(&set, &all).collect();
            assert_eq!(shown.len(), 1, "the database, and not the row of its name");
            assert_eq!(
                (shown[0].revision, shown[0].kind()),
                (set.revision.0, v1::ResourceKind::Database)
            );
            sides.push((shown[0].before.is_some(), shown[0].after.is_some()));

            let others = v1::WatchRequest {
                kinds: vec![2],
                ..Default::default()
            };
            let others = wanted(&others).expect("well-formed");
            assert_eq!(events(&set, &others).count(), 0);
        }
        assert_eq!(sides, [(false, true), (true, false)]);

        let image = machine.image();
        let states: Vec<v1::Event> = image
            .resources(ResourceKind::Database)
            .map(|(_, resource)| existing(resource, &image))
            .collect();
        assert_eq!(states.len(), 1);
        assert_eq!(
            (states[0].revision, states[0].before.is_none()),
            (image.revision().0, true)
        );
    }
}
