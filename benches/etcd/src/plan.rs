//! What is measured in which order. Pure.
//!
//! Promises: the two systems take turns stretch by stretch, and who begins changes with each, so that neither profits from
//! what the other left behind.

use std::str::FromStr;

/// Calls that a stretch consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A key is written.
    Put,
    /// A version is compared, and a key written.
    Txn,
    /// A key is read, linearizably.
    Get,
    /// A key is read from what the replica has.
    GetSerializable,
    /// A lease is kept alive.
    KeepAlive,
    /// A key is written at a pace, and each watcher is told.
    Watch,
    /// The leader is killed while keys are written.
    Kill,
}

impl Op {
    const ALL: [Self; 7] = [
        Self::Put,
        Self::Txn,
        Self::Get,
        Self::GetSerializable,
        Self::KeepAlive,
        Self::Watch,
        Self::Kill,
    ];

    /// The word on the command line and in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Txn => "txn",
            Self::Get => "get",
            Self::GetSerializable => "get-serializable",
            Self::KeepAlive => "keepalive",
            Self::Watch => "watch",
            Self::Kill => "kill",
        }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|op| op.name() == word);
        found.ok_or_else(|| format!("take some of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The real one.
    Etcd,
    /// Ours.
    Quorate,
}

impl Which {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Quorate => "quorate",
        }
    }
}

/// A row of the table: calls of one kind, from so many clients (or to so many watchers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) op: Op,
    pub(crate) clients: usize,
}

/// One stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) cell: Cell,
    pub(crate) which: Which,
}

/// The rows, in the order of the table. Kills are none; see [`crate::kill`].
pub(crate) fn cells(ops: &[Op], clients: &[usize], watchers: &[usize]) -> Vec<Cell> {
    let of = |&op: &Op| {
        let counts = match op {
            Op::Kill => &[],
            Op::Watch => watchers,
            _ => clients,
        };
        counts.iter().map(move |&clients| Cell { op, clients })
    };
    ops.iter().flat_map(of).collect()
}

/// All stretches: each round has every row once for each system.
pub(crate) fn turns(cells: &[Cell], rounds: u32, systems: &[Which]) -> Vec<Turn> {
    let mut turns = Vec::new();
    for round in 0..rounds as usize {
        for (place, &cell) in cells.iter().enumerate() {
            let mut order = systems.to_vec();
            order.rotate_left((round + place) % systems.len().max(1));
            turns.extend(order.into_iter().map(|which| Turn { cell, which }));
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for op in Op::ALL {
            assert_eq!(op.name().parse(), Ok(op));
        }
        assert!("steal".parse::<Op>().is_err());
    }

    #[test]
    fn rows() {
        let cells = cells(&[Op::Put, Op::Kill, Op::Watch], &[1, 64], &[100]);
        let got: Vec<(Op, usize)> = cells.iter().map(|cell| (cell.op, cell.clients)).collect();
        assert_eq!(got, [(Op::Put, 1), (Op::Put, 64), (Op::Watch, 100)]);
    }

    #[test]
    fn systems_take_turns() {
        let (a, b) = (
            Cell {
                op: Op::Put,
                clients: 1,
            },
            Cell {
                op: Op::Get,
                clients: 1,
            },
        );
        let (etcd, quorate) = (Which::Etcd, Which::Quorate);
        type Case<'a> = (&'a str, u32, &'a [Which], &'a [(Cell, Which)]);
        let cases: &[Case] = &[
            ("no rounds", 0, &[etcd, quorate], &[]),
            (
                "one system",
                2,
                &[quorate],
                &[(a, quorate), (b, quorate), (a, quorate), (b, quorate)],
            ),
            (
                "two systems",
                2,
                &[etcd, quorate],
                &[
                    (a, etcd),
                    (a, quorate),
                    (b, quorate),
                    (b, etcd),
                    (a, quorate),
                    (a, etcd),
                    (b, etcd),
                    (b, quorate),
                ],
            ),
        ];
        for (name, rounds, systems, want) in cases {
            let turns = turns(&[a, b], *rounds, systems);
            let got: Vec<(Cell, Which)> = turns.iter().map(|turn| (turn.cell, turn.which)).collect();
            assert_eq!(&got, want, "{name}");
        }
    }
}
