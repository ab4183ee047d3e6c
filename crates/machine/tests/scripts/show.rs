//! Answers, objects and events in words.

use quorate_machine::{
    Alias, Applied, Change, ChangeSet, Collection, Database, Partition, Reply, Resource, Session, Shard,
};

pub(crate) fn outcome(applied: &Applied) -> String {
    let again = if applied.replayed { "(again) " } else { "" };
    match &applied.outcome {
        Ok(Reply::CollectionCreated { id, shards }) => {
            format!("= {again}collection {id} on {}", channels(shards))
        }
        Ok(reply) => format!("= {again}{reply:?}"),
        Err(refusal) => format!("! {again}{refusal}"),
    }
}

fn channels(shards: &[Shard]) -> String {
    let channels: Vec<_> = shards
        .iter()
        .map(|shard| shard.virtual_channel.as_str())
        .collect();
    channels.join(" ")
}

/// The events of a revision; more than six are cut short.
pub(crate) fn changes(set: &ChangeSet) -> Vec<String> {
    const EVENTS_MAX: usize = 6;
    let events: Vec<_> = set.changes.iter().filter_map(event).collect();
    let more = events.len().saturating_sub(EVENTS_MAX);
    let revision = set.revision;
    let mut said: Vec<_> = events
        .into_iter()
        .take(EVENTS_MAX)
        .map(|event| format!("  @{revision} {event}"))
        .collect();
    if more > 0 {
        said.push(format!("  @{revision} and {more} more"));
    }
    said
}

fn event(change: &Change) -> Option<String> {
    change.kind()?;
    Some(match (change.resource_before(), change.resource_after()) {
        (None, Some(after)) => format!("+ {}", resource(&after)),
        (Some(_), Some(after)) => format!("~ {}", resource(&after)),
        (Some(before), None) => format!("- {}", resource(&before)),
        (None, None) => "?".to_owned(),
    })
}

pub(crate) fn resource(resource: &Resource) -> String {
    match resource {
        Resource::Database(database) => self::database(database),
        Resource::Collection(collection) => self::collection(collection),
        Resource::Partition(partition) => self::partition(partition),
        Resource::Alias(alias) => self::alias(alias),
        Resource::Session(session) => self::session(session),
    }
}

pub(crate) fn database(database: &Database) -> String {
    let Database {
        id, name, properties, ..
    } = database;
    format!("database {id} {name} {properties:?}")
}

pub(crate) fn collection(collection: &Collection) -> String {
    let fields: Vec<_> = collection
        .schema
        .fields
        .iter()
        .map(|field| format!("{}:{}:{}", field.id, field.name, field.data_type))
        .collect();
    let mut said = format!(
        "collection {} {} in {} ({}), partitions {}",
        collection.id,
        collection.name,
        collection.database_id,
        fields.join(" "),
        collection.partitions
    );
    if !collection.aliases.is_empty() {
        said += &format!(", aliases {}", collection.aliases.join(" "));
    }
    if !collection.properties.is_empty() {
        said += &format!(", properties {:?}", collection.properties);
    }
    if !collection.description.is_empty() {
        said += &format!(", {:?}", collection.description);
    }
    said
}

pub(crate) fn partition(partition: &Partition) -> String {
    format!(
        "partition {} {} of {}",
        partition.id, partition.name, partition.collection_id
    )
}

pub(crate) fn alias(alias: &Alias) -> String {
    format!(
        "alias {} of {} {}",
        alias.name, alias.collection_id, alias.collection_name
    )
}

pub(crate) fn session(session: &Session) -> String {
    let Session {
        id,
        epoch,
        worker,
        opened_at,
        ttl_ms,
    } = session;
    format!(
        "session {id} epoch {epoch} of {} {} since {opened_at}, ttl {ttl_ms}",
        worker.kind, worker.name
    )
}
