//! What applying, reading and copying cost. Not a benchmark, a measurement to look at:
//! `cargo test --release -p quorate-machine --test speed -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::fs;

use bytes::Bytes;
use quorate_machine::{
    AllocateIds, AlterCollection, Command, CreateCollection, CreatePartition, DataType, DropCollection,
    Field, Image, Machine, OpenSession, PageRequest, RequestId, Schema, Worker, WorkerKind,
};
use quorate_types::{ClientId, Index};

/// Nanoseconds that this thread has spent on a processor, so that neighbours on a busy machine do not count.
fn on_cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

fn show(name: &str, start: u64, count: usize) {
    let each = (on_cpu_ns() - start) as f64 / 1e3 / count as f64;
    println!("{name:<44} {each:>8.2} us each");
}

const CLIENT: ClientId = ClientId(7);

fn schema() -> Schema {
    let mut id = Field::new("id", DataType::Int64);
    id.primary_key = true;
    let mut vector = Field::new("vector", DataType::FloatVector);
    vector.dimension = 768;
    let mut title = Field::new("title", DataType::VarChar);
    title.max_length = 256;
    Schema {
        fields: vec![
            id,
            vector,
            title,
            Field::new("year", DataType::Int32),
            Field::new("json", DataType::Json),
        ],
        dynamic_fields: true,
    }
}

struct Log {
    machine: Machine,
    next: u64,
}

impl Log {
    /// Applies entries and says how long each took; with `publish` an image is taken and held after each, as a replica
    /// that publishes after every entry would.
    fn run(&mut self, name: &str, publish: bool, entries: Vec<Bytes>) {
        let mut image: Option<Image> = None;
        let count = entries.len();
        let start = on_cpu_ns();
        for entry in entries {
            let applied = self.machine.apply(Index(self.next), &entry).unwrap();
            assert!(applied.outcome.is_ok(), "{:?}", applied.outcome);
            self.next += 1;
            if publish {
                image = Some(self.machine.image());
            }
        }
        show(name, start, count);
        drop(image);
    }
}

fn entries(count: u64, command: impl Fn(u64) -> Command) -> Vec<Bytes> {
    (0..count).map(|n| command(n).encode(n, None)).collect()
}

fn numbered(count: u64, from: u64, command: impl Fn(u64) -> Command) -> Vec<Bytes> {
    let request = |sequence: u64| RequestId {
        client: CLIENT,
        sequence,
        floor: sequence.saturating_sub(100),
    };
    (from..from + count)
        .map(|n| command(n).encode(n, Some(request(n))))
        .collect()
}

fn time<T>(name: &str, count: usize, mut run: impl FnMut(usize) -> T) {
    let start = on_cpu_ns();
    for n in 0..count {
        std::hint::black_box(run(n));
    }
    show(name, start, count);
}

#[test]
#[ignore = "a measurement; run it in release"]
fn what_things_cost() {
    let mut log = Log {
        machine: Machine::genesis(),
        next: 0,
    };
    let collection =
        |n| Command::CreateCollection(CreateCollection::new(format!("collection_{n:06}"), schema()));
    let partition = |n: u64| {
        Command::CreatePartition(CreatePartition {
            collection: format!("collection_{:06}", n % 1000),
            name: format!("partition_{n}"),
            ..CreatePartition::default()
        })
    };
    log.run(
        "create collection, 0 to 40,000",
        false,
        entries(40_000, collection),
    );
    log.run(
        "create partition, 80,000 objects",
        false,
        entries(5_000, partition),
    );
    println!("{:?}", log.machine.image().counts());

    log.run(
        "create collection",
        false,
        entries(5_000, |n| collection(100_000 + n)),
    );
    log.run(
        "create collection, image after each",
        true,
        entries(9_000, |n| collection(200_000 + n)),
    );
    log.run(
        "create partition, image after each",
        true,
        entries(5_000, |n| partition(100_000 + n)),
    );
    let alter = |n: u64| {
        Command::AlterCollection(AlterCollection {
            name: format!("collection_{n:06}"),
            set: [("k".to_owned(), n.to_string())].into(),
            ..AlterCollection::default()
        })
    };
    log.run("alter collection, image after each", true, entries(10_000, alter));
    let session = |n: u64| {
        Command::OpenSession(OpenSession {
            worker: Worker {
                kind: WorkerKind::QueryNode,
                name: format!("q{n}"),
                address: "h:1".into(),
                zone: "z".into(),
                resource_group: "g".into(),
                capacity: [("slots".to_owned(), 8)].into(),
            },
            ttl_ms: 10_000,
        })
    };
    log.run("open session, image after each", true, entries(10_000, session));
    let ids = |_| Command::AllocateIds(AllocateIds { count: 10 });
    log.run("allocate ids", false, entries(100_000, ids));
    let register = Command::RegisterClient { client: CLIENT };
    log.run("register client", false, vec![register.encode(0, None)]);
    log.run("allocate ids, numbered", false, numbered(100_000, 1, ids));
    log.run(
        "create collection, numbered, image after each",
        true,
        numbered(300, 300_000, collection),
    );

    let image = log.machine.image();
    time("image", 100_000, |_| log.machine.image());
    time("digest", 100_000, |_| image.digest());
    time("describe collection", 10_000, |n| {
        image
            .describe_collection("", &format!("collection_{n:06}"))
            .unwrap()
    });
    time("has collection", 10_000, |n| {
        image.has_collection("", &format!("collection_{n:06}"))
    });
    time("list 100 collections", 1000, |_| {
        image.list_collections("", &PageRequest::default()).unwrap()
    });
    let mut bytes = 0;
    time("snapshot, written", 1, |_| {
        bytes = image.snapshot_records().map(|record| record.len()).sum::<usize>()
    });
    println!("snapshot of {bytes} bytes");
    let records: Vec<_> = image.snapshot_records().collect();
    time("snapshot, restored", 1, |_| {
        Machine::restore(records.iter().cloned().map(Ok::<_, Infallible>)).unwrap()
    });
    time("audit", 1, |_| image.audit().unwrap());
}

#[test]
#[ignore = "a measurement; run it in release"]
fn what_the_largest_commands_cost() {
    let mut log = Log {
        machine: Machine::genesis(),
        next: 0,
    };
    let keyed = || {
        let mut create = CreateCollection::new("keyed", schema());
        create.schema.fields[3] = Field::new("tenant", DataType::Int64);
        create.schema.fields[3].partition_key = true;
        create.partitions = 4096;
        Command::CreateCollection(create)
    };
    let drop = || {
        Command::DropCollection(DropCollection {
            name: "keyed".into(),
            ..DropCollection::default()
        })
    };
    let both = |n: u64| if n.is_multiple_of(2) { keyed() } else { drop() };
    log.run("create or drop 4,096 partitions at once", true, entries(20, both));
}
